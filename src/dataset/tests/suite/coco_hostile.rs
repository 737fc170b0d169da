//! Invalid COCO files: errors that name the entry, and never a panic.

use std::path::Path;

use anyhow::Result;
use serde_json::{self, json};
use sonotune_base::seed::Rng;
use sonotune_dataset::{Dataset, DatasetConfig, Split};

const GOOD: &str = r#"{"images": [
 {"id": 1, "file_name": "a.png", "height": 2, "width": 3},
 {"id": "2", "file_name": "b.png", "height": 5, "width": 6}],
"annotations": [
 {"id": 70, "image_id": 1, "category_id": 1, "bbox": [1, 0, 2, 2], "area": 3, "iscrowd": 0,
  "segmentation": {"size": [2, 3], "counts": "231"}},
 {"id": 71, "image_id": "2", "category_id": 2, "bbox": [1, 1, 3, 2], "area": 6, "iscrowd": 1,
  "segmentation": {"counts": [7, 3, 2, 3, 15], "size": [5, 6]}},
 {"id": "c", "image_id": "2", "category_id": 2, "bbox": [1, 1, 3, 2], "area": 6,
  "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}],
"categories": [{"id": 1, "name": "benign"}, {"id": 2, "name": "malignant"}]}"#;

fn open(path: &Path, text: &[u8]) -> Result<Dataset> {
    std::fs::write(path, text).unwrap();
    let table = json!({ "type": "coco", "train": path, "check_files": "none" });
    serde_json::from_value::<Box<dyn DatasetConfig>>(table).unwrap().open(Split::Train)
}

/// Replaces the first occurrence of a text, and what the error must say then.
const FAULTS: &[(&str, &str, &[&str])] = &[
    // The file as a whole.
    (GOOD, "", &["is empty (0 bytes)"]),
    (GOOD, "[]", &["invalid type: sequence", "an object with the lists `images`"]),
    (GOOD, "{\"images\": [],", &["ends too early", "line 1 column 14"]),
    (GOOD, "{\"images\": [], \"annotations\": []}", &["has the keys \"annotations\", \"images\""]),
    ("{\"images\"", "{\"images\": [], \"images\"", &["duplicate field `images`"]),
    (
        GOOD,
        "{\"images\": [], \"annotations\": [], \"categories\": [{\"id\": 1, \"name\": \"a\"}]}",
        &["no images"],
    ),
    // Images.
    (
        "\"file_name\": \"a.png\"",
        "\"name\": \"a.png\"",
        &["images[0] (id 1)", "`file_name` is missing"],
    ),
    (
        "\"file_name\": \"a.png\"",
        "\"file_name\": [5]",
        &["images[0] (id 1): `file_name`: expected a text, got [5]", "line 2"],
    ),
    ("{\"id\": 1, \"file", "{\"file", &["images[0]: `id` is missing: give each image an `id`"]),
    ("\"id\": 1, \"file", "\"id\": NaN, \"file", &["images[0]: `id`", "string, got `NaN`"]),
    ("\"id\": \"2\"", "\"id\": 1", &["images[1] and images[0]", "same id 1", "a.png", "b.png"]),
    ("\"id\": \"2\"", "\"id\": [2]", &["images[1]", "an integer or a string, got `[2]`", "line 3"]),
    ("\"id\": \"2\"", "\"id\": 2.5", &["images[1]", "got `2.5`"]),
    ("\"id\": 1,", "\"id\": 340282366920938463463374607431768211456,", &["images[0]", "128 bits"]),
    ("\"height\": 2", "\"height\": 0", &["images[0] (id 1)", "`height` is 0"]),
    ("\"height\": 2", "\"height\": -2", &["`height` is -2"]),
    ("\"height\": 2", "\"height\": 99999999999", &["`height` is 99999999999"]),
    ("\"height\": 2", "\"height\": 2.5", &["images[0] (id 1): `height`: invalid", "an integer"]),
    ("\"height\": 2", "\"height\": NaN", &["`height`: invalid value: NaN, expected an integer"]),
    ("\"height\": 2", "\"height\": \"2 px\"", &["`height`: invalid type: string \"2 px\""]),
    ("\"height\": 2", "\"height\": 4", &["annotations[0] (id 70)", "2×3", "4×3"]),
    (
        "{\"id\": 1, \"file_name\": \"a.png\", \"height\": 2, \"width\": 3}",
        "[1, \"a.png\"]",
        &["images[0]: invalid type: sequence", "an object with `id`, `file_name`"],
    ),
    // References.
    ("\"image_id\": 1", "\"image_id\": 3", &["annotations[0] (id 70)", "image_id 3 is not the id"]),
    ("\"image_id\": 1,", "", &["annotations[0] (id 70)", "`image_id` is missing"]),
    (
        "\"category_id\": 1",
        "\"category_id\": 3",
        &["annotations[0] (id 70)", "category_id 3", "[1, 2]"],
    ),
    ("\"category_id\": 1,", "", &["annotations[0] (id 70)", "`category_id` is missing"]),
    (
        "\"category_id\": 1",
        "\"category_id\": \"a\"",
        &["annotations[0] (id 70)", "an integer", "line 5"],
    ),
    (
        "\"id\": 71",
        "\"id\": 70",
        &["annotations[1] (id 70)", "same id as annotations[0]", "data filter"],
    ),
    // Boxes and areas.
    ("[1, 0, 2, 2]", "[1, 0, 2]", &["annotations[0]", "invalid length 3", "[x, y, width, height]"]),
    ("[1, 0, 2, 2]", "[1, 0, 2, 2, 9]", &["annotations[0]", "invalid length 5"]),
    ("[1, 0, 2, 2]", "[1, 0, -2, 2]", &["annotations[0] (id 70)", "[1.0, 0.0, -2.0, 2.0]"]),
    (
        "[1, 0, 2, 2]",
        "[1, 0, NaN, 2]",
        &["annotations[0] (id 70): `bbox`", "NaN, expected a number"],
    ),
    ("[1, 0, 2, 2]", "[1, 0, 1e999, 2]", &["annotations[0]", "number out of range"]),
    ("[1, 0, 2, 2]", "\"1 0 2 2\"", &["annotations[0]", "a bbox of four numbers"]),
    ("\"area\": 3", "\"area\": -3", &["annotations[0] (id 70)", "area -3"]),
    ("\"iscrowd\": 0", "\"iscrowd\": 2", &["annotations[0]", "expected 0 or 1"]),
    (
        "\"area\": 3",
        "\"area\": \"3 px\"",
        &["`area`: invalid type: string \"3 px\", expected a number"],
    ),
    // Masks.
    ("\"231\"", "\"23\"", &["annotations[0] (id 70)", "cover 5 pixels", "has 6"]),
    ("\"231\"", "\"2319\"", &["annotations[0] (id 70)", "RLE counts"]),
    ("\"231\"", "\"2O1\"", &["annotations[0] (id 70)", "negative"]),
    ("\"231\"", "\"oooooooooooooooooooo\"", &["annotations[0] (id 70)", "RLE counts"]),
    ("\"231\"", "\"2 1\"", &["annotations[0] (id 70)", "RLE counts"]),
    ("\"231\"", "7", &["annotations[0]", "RLE counts: a string, or a list"]),
    ("[7, 3, 2, 3, 15]", "[7, 3, 2, 3, -15]", &["annotations[1]", "-15", "a run length"]),
    ("[7, 3, 2, 3, 15]", "[7, 3, 2, 3, 4294967296]", &["annotations[1]", "a run length"]),
    ("[7, 3, 2, 3, 15]", "[7, 3, 2, 3, 16]", &["annotations[1] (id 71)", "cover 31 pixels"]),
    ("[7, 3, 2, 3, 15]", "[]", &["annotations[1] (id 71)", "cover 0 pixels"]),
    ("\"size\": [5, 6]", "\"size\": [6, 5]", &["annotations[1] (id 71)", "6×5", "5×6"]),
    (", \"size\": [5, 6]", "", &["annotations[1]", "missing field `size`"]),
    ("\"size\": [5, 6]", "\"size\": [5]", &["annotations[1]", "invalid length 1"]),
    (
        "[[1, 1, 4, 1, 4, 3, 1, 3]]",
        "[1, 1, 4, 1, 4, 3]",
        &["annotations[2]", "inside the list of polygons"],
    ),
    (
        "[[1, 1, 4, 1, 4, 3, 1, 3]]",
        "[[1, 1, 4, 1]]",
        &["annotations[2] (id \"c\")", "3 points", "got 4"],
    ),
    (
        "[[1, 1, 4, 1, 4, 3, 1, 3]]",
        "[[1, 1, 4, 1, 4, 3, 1]]",
        &["annotations[2] (id \"c\")", "got 7"],
    ),
    (
        "[[1, 1, 4, 1, 4, 3, 1, 3]]",
        "\"poly\"",
        &["annotations[2]", "a list of polygons, or { size"],
    ),
    // Categories.
    (
        "\"name\": \"malignant\"",
        "\"name\": \"benign\"",
        &["categories[1]", "also the name of categories[0]"],
    ),
    (
        "{\"id\": 2, \"name\"",
        "{\"id\": 1, \"name\"",
        &["categories[1]", "id 1 is also that of categories[0]"],
    ),
    (", \"name\": \"malignant\"", "", &["categories[1]", "`name` is missing"]),
    ("{\"id\": 2, \"name\"", "{\"name\"", &["categories[1]", "`id` is missing"]),
    ("\"malignant\"", "NaN", &["categories[1] (id 2): `name`: expected a text, got NaN"]),
];

#[test]
fn every_fault_is_named_with_file_and_entry() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.json");
    open(&path, GOOD.as_bytes()).unwrap();
    for (from, to, parts) in FAULTS {
        assert!(GOOD.contains(from), "{from}");
        let error = open(&path, GOOD.replacen(from, to, 1).as_bytes()).unwrap_err();
        let text = format!("{error:#}");
        assert_eq!(sonotune_base::error::exit_code(&error), 3, "{text}");
        assert!(!["f64", "u32", "i64"].iter().any(|word| text.contains(word)), "{text}");
        for part in parts.iter().chain(&["train.json"]) {
            assert!(text.contains(part), "{to}\n  lacks: {part}\n  error: {text}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let table = json!({ "type": "coco", "train": "no/such.json" });
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
    let error = config.open(Split::Train).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 3);
    assert!(format!("{error:#}").contains("no/such.json"));
}

#[test]
fn truncated_files_are_errors_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.json");
    for length in 1..GOOD.len() {
        let error = open(&path, &GOOD.as_bytes()[..length]).unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 3);
        assert!(format!("{error:#}").contains("column"), "{length}: {error:#}");
    }
}

#[test]
fn damaged_files_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.json");
    for case in 0..1500 {
        let mut rng = Rng::at(3, &[case]);
        let mut bytes = GOOD.as_bytes().to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = rng.below(256) as u8,
                1 => bytes[at] = b"0123456789-[]{}\",:e."[rng.below(20) as usize],
                _ => {
                    bytes.remove(at);
                }
            }
        }
        // Every file that opens must also rasterise.
        let Ok(data) = open(&path, &bytes) else { continue };
        for record in &data.records {
            for object in &record.objects {
                let size = record.size.or(object.segmentation.size()).unwrap_or((4, 4));
                if u64::from(size.0) * u64::from(size.1) < 1 << 20 {
                    let rle = object.segmentation.rasterize(size, object.bbox).unwrap();
                    assert_eq!(rle.to_mask().len() as u64, u64::from(size.0) * u64::from(size.1));
                }
            }
        }
    }
}
