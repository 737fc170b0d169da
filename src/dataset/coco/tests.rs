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
    assert!(error(r#"{"images": [], "categories": []}"#).contains("missing field `annotations`"));
    let twice = r#"{"images": [{"id": 1, "id": 2}], "annotations": [], "categories": []}"#;
    assert!(error(twice).starts_with("a.json: images[0]: duplicate field `id` at line 1"));
    let file = read::<Keeping>(twice).unwrap();
    assert_eq!(file.images.unwrap()[0].id, Some(2.into()));
    assert!(read::<Keeping>("{}").unwrap().images.is_none());
}

#[test]
fn a_tolerant_reader_names_the_key() {
    let json = r#"{"images": [{"height": "x"}], "annotations": [], "categories": []}"#;
    let what = "invalid type: string \"x\", expected an integer of";
    let error = format!("{:#}", plain(json).err().unwrap());
    assert!(error.starts_with(&format!("a.json: images[0]: {what} up to 64 bits")), "{error}");
    let error = format!("{:#}", read::<Keeping>(json).err().unwrap());
    assert!(error.starts_with(&format!("a.json: images[0]: `height`: {what} at least 0")));
    let error = format!("{:#}", read::<Keeping>(r#"{"images": null}"#).err().unwrap());
    assert!(error.contains("`images`: invalid type: null, expected the list `images`"), "{error}");
}
