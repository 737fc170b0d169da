use std::path::Path;

use serde_json::value::RawValue;

use super::*;

/// Keeps what it does not know.
struct Keeping;

impl Reader for Keeping {
    type Side = Unsigned;
    type CategoryId = Unsigned;
    type Mask = Box<RawValue>;
    type OfFile = Extra;
    type OfImage = Extra;
    type OfAnnotation = Extra;
    type OfCategory = Extra;
    const MANNER: Manner = Manner::Tolerant;
}

fn read<R: Reader>(json: &str) -> Result<File<R>> {
    from_slice(json.as_bytes(), Path::new("a.json"))
}

fn plain(json: &str) -> Result<File<Plain<Integer>>> {
    read(json)
}

const FULL: &str = r#"{"licenses": [1, 2.50], "images": [{"id": 1, "c\u006f": {"a": 1}}],
"annotations": [{"bbox": [1, 2, 3, 4], "segmentation": null, "score": 0.10}], "categories": []}"#;

#[test]
fn the_rest_is_kept_as_written_or_passed_over() {
    let file = read::<Keeping>(FULL).unwrap();
    let text = |extra: &Extra, key: &str| extra.get(key).unwrap().get().to_owned();
    assert_eq!(text(&file.rest, "licenses"), "[1, 2.50]");
    assert_eq!(text(&file.images.unwrap()[0].rest, "co"), r#"{"a": 1}"#);
    let annotation = &file.annotations.unwrap()[0];
    assert_eq!(text(&annotation.rest, "score"), "0.10");
    assert_eq!(annotation.segmentation.as_deref().map(RawValue::get), Some("null"));
    let file = plain(&format!("\u{feff}{FULL}")).unwrap();
    let Bbox(bbox) = file.annotations.unwrap()[0].bbox.unwrap();
    assert_eq!(bbox, [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn a_strict_reader_wants_all_lists_and_each_key_once() {
    let error = |json: &str| format!("{:#}", plain(json).err().unwrap());
    assert!(
        error(r#"{"images": [], "categories": []}"#)
            .contains("has the keys \"categories\", \"images\"")
    );
    let twice = r#"{"images": [{"id": 1, "id": 2}], "annotations": [], "categories": []}"#;
    assert!(error(twice).starts_with("a.json: images[0] (id 1): duplicate field `id` at line 1"));
    let file = read::<Keeping>(twice).unwrap();
    assert_eq!(file.images.unwrap()[0].id, Some(2.into()));
    assert!(read::<Keeping>("{}").unwrap().images.is_none());
}

#[test]
fn errors_name_entry_and_key() {
    let json = r#"{"images": [{"height": "x", "id": 7}], "annotations": [], "categories": []}"#;
    let what = "`height`: invalid type: string \"x\", expected an integer of";
    let error = format!("{:#}", plain(json).err().unwrap());
    assert!(
        error.starts_with(&format!("a.json: images[0] (id 7): {what} up to 64 bits")),
        "{error}"
    );
    let error = format!("{:#}", read::<Keeping>(json).err().unwrap());
    assert!(error.starts_with(&format!("a.json: images[0] (id 7): {what} at least 0")), "{error}");
    let error = format!("{:#}", read::<Keeping>(r#"{"images": null}"#).err().unwrap());
    assert!(error.contains("`images`: invalid type: null, expected the list `images`"), "{error}");
}

#[test]
fn nan_is_an_error_only_where_a_number_is_read() {
    let json = |area: &str| {
        format!(
            "{{\"images\": [{{\"id\": 1, \"age\": NaN, \"dose\": [-Infinity]}}],\n\
             \"annotations\": [{{\"x\": NaN, \"area\": {area}, \"id\": 5}}], \"categories\": []}}"
        )
    };
    let file = read::<Keeping>(&json("4")).unwrap();
    let dose = file.images.as_ref().unwrap()[0].rest.get("dose").unwrap();
    assert_eq!(sonotune_base::json::restored(dose.get()), "[-Infinity]");
    assert_eq!(plain(&json("4")).unwrap().annotations.unwrap()[0].area, Some(Number(4.0)));
    let error = format!("{:#}", plain(&json("Infinity")).err().unwrap());
    let at = json("Infinity").lines().nth(1).unwrap().find(", \"id\"").unwrap();
    assert_eq!(
        error,
        format!(
            "a.json: annotations[0] (id 5): `area`: invalid value: Infinity, expected a number at \
             line 2 column {at}"
        )
    );
}

#[test]
fn what_a_file_is_comes_before_what_its_parser_says() {
    for (bytes, said) in [
        (&b""[..], "a.json: is empty (0 bytes)"),
        (b"PK\x03\x04", "a.json: is not JSON, but a ZIP archive"),
        (b"{'images': []}", "a.json: is a Python dict, not JSON"),
        (b"{\"images\": [{\"file_name\": \"\xe4.png\"}]}", "a.json: is not UTF-8"),
        (b"{\"shapes\": [], \"imagePath\": \"\"}", "a.json: is a labelme file, not COCO"),
        (b"{\"id\": 1}\n{\"id\": 2}", "a.json: holds 2 JSON values, as a file of JSON lines"),
    ] {
        let error = from_slice::<File<Plain<Integer>>>(bytes, Path::new("a.json")).err().unwrap();
        assert!(error.to_string().starts_with(said), "{error}");
    }
    let wide: Vec<u8> =
        format!("\u{feff}{FULL}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    let file: File<Plain<Integer>> = from_slice(&wide, Path::new("a.json")).unwrap();
    assert_eq!(file.images.unwrap().len(), 1);
}
