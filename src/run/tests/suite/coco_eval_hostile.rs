//! `coco-eval` on invalid files: errors that name file and entry, and no panic.

use std::path::Path;

use anyhow::Result;
use sonotune_base::{error::exit_code, seed::Rng};
use sonotune_metrics::coco::IouType;
use sonotune_run::{CocoEvalOptions, CocoEvalRecord, coco_eval};

const TRUTH: &str = include_str!("../../../../tests/fixtures/coco/hostile_truth.json");

const FOUND: &str = r#"[
 {"image_id": 1, "category_id": 1.0, "score": 0.5, "bbox": [1, 0, 2, 2],
  "segmentation": {"size": [2, 3], "counts": "231"}},
 {"image_id": "two", "category_id": "b", "score": 0.75, "bbox": [1, 1, 3, 2], "area": 1e99,
  "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]},
 {"image_id": 5, "category_id": 1, "score": 1,
  "segmentation": {"size": [2, 3], "counts": "231"}}]"#;

fn score(folder: &Path, truth: &[u8], found: &[u8], iou_type: IouType) -> Result<CocoEvalRecord> {
    std::fs::write(folder.join("gt.json"), truth).unwrap();
    std::fs::write(folder.join("dt.json"), found).unwrap();
    coco_eval(&CocoEvalOptions {
        ground_truth: folder.join("gt.json"),
        detections: folder.join("dt.json"),
        iou_type,
        max_dets: vec![1, 10, 100],
        class_agnostic: false,
        mask_area: false,
    })
}

#[test]
fn every_spelling_of_ids_and_masks_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let enveloped = format!("{{\"info\": {{\"annotations\": 3}}, \"annotations\": {FOUND}}}");
    let predictions = format!("{{\"predictions\": {FOUND}, \"time\": NaN}}");
    let texts = FOUND.replace("0.5,", "\"0.5\",").replace("[1, 0, 2, 2]", "[\"1\", 0, \"2.0\", 2]");
    let wide: Vec<u8> =
        format!("\u{feff}{FOUND}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = format!("\u{feff}{FOUND}\n");
    for found in
        [FOUND.into(), enveloped.into(), predictions.into(), texts.into(), marked.into(), wide]
    {
        let found: Vec<u8> = found;
        for iou_type in [IouType::Bbox, IouType::Segm] {
            let record = score(folder.path(), TRUTH.as_bytes(), &found, iou_type).unwrap();
            assert!((record.stats[0] - 1.0).abs() < 1e-12, "{iou_type:?}: {:?}", record.stats);
            assert_eq!((record.counts.images, record.counts.crowds), (3, 1));
            assert_eq!(record.counts.detections, 3);
            assert!(record.notes.iter().any(|n| n.contains("1 objects of the ground truth")));
            // A crowd is not an object to find.
            assert_eq!(record.per_class[1].stats, [-1.0; 12]);
            assert_eq!(record.per_class[1].name, "b");
        }
    }
}

#[test]
fn an_empty_list_scores_zero() {
    let folder = tempfile::tempdir().unwrap();
    let record = score(folder.path(), TRUTH.as_bytes(), b"[]", IouType::Segm).unwrap();
    assert_eq!((record.stats[0], record.counts.detections), (0.0, 0));
}

#[test]
fn boxes_in_shares_of_the_image_are_noted() {
    let folder = tempfile::tempdir().unwrap();
    let found = FOUND.replacen("[1, 0, 2, 2]", "[0.1, 0.2, 0.5, 0.5]", 1);
    let record = score(folder.path(), TRUTH.as_bytes(), found.as_bytes(), IouType::Bbox).unwrap();
    let note = "detections: 1 of 3 objects with coordinates between 0 and 1, less than a pixel; the \
                first is detections[0]";
    assert!(record.notes.iter().any(|n| n == note), "{:?}", record.notes);
}

#[test]
fn the_annotation_of_id_zero_counts_and_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let truth = TRUTH.replacen("\"id\": 70", "\"id\": 0", 1);
    let record = score(folder.path(), truth.as_bytes(), FOUND.as_bytes(), IouType::Bbox).unwrap();
    assert!((record.stats[0] - 1.0).abs() < 1e-12, "{:?}", record.stats);
    assert!(record.notes.iter().any(|n| n.starts_with("annotations[0] has the id 0")));
}

/// Replaces the first occurrence of a text, and what the error must say then.
const TRUTH_FAULTS: &[(&str, &str, &[&str])] = &[
    (TRUTH, "", &["is empty (0 bytes)"]),
    (TRUTH, FOUND, &["is a list of COCO predictions or annotations, not COCO"]),
    ("{\"id\": 5.0}", "{}", &["images[2]: `id` is missing: give each image an `id`"]),
    (TRUTH, "[]", &["an object with the lists `images`, `annotations`, `categories`"]),
    ("{\"id\": 5.0}", "{\"id\": 1}", &["two entries of `images` have the id 1"]),
    ("{\"id\": \"b\"}", "{\"id\": 1}", &["two entries of `categories` have the id 1"]),
    ("{\"id\": \"b\"}", "{}", &["categories[1]: `id` is missing"]),
    ("\"id\": \"a\"", "\"id\": 70", &["annotations[1] (id 70)", "the same id as annotations[0]"]),
    ("\"image_id\": 1,", "\"image_id\": 7,", &["annotations[0] (id 70)", "image_id 7 is not"]),
    (
        "\"image_id\": 1,",
        "\"image_id\": \"1\",",
        &["image_id \"1\" is not the id of any image", "but 1 is: spell both alike"],
    ),
    ("\"category_id\": 1,", "\"category_id\": 9,", &["annotations[0]", "category_id 9 is not"]),
    ("[1, 0, 2, 2]", "[1, 0, -2, 2]", &["annotations[0]", "width and height of at least 0"]),
    ("\"area\": 3", "\"area\": -3", &["annotations[0]", "area -3 is not a number of pixels"]),
    ("\"height\": 2", "\"height\": 4", &["annotations[0]", "2×3", "4×3"]),
    ("\"counts\": \"231\"", "\"counts\": \"23\"", &["annotations[0]", "segmentation"]),
    ("\"iscrowd\": 0", "\"iscrowd\": 2", &["annotations[0]", "0 or 1"]),
];

const FOUND_FAULTS: &[(&str, &str, &[&str])] = &[
    (FOUND, "", &["is empty (0 bytes)"]),
    (FOUND, "PK\u{3}\u{4}", &["is not JSON, but a ZIP archive"]),
    (FOUND, "{\"image_id\": 1}\n{\"image_id\": 1}", &["holds 2 JSON values"]),
    (FOUND, "[]\n[]", &["holds 2 JSON values, as a file of JSON lines does"]),
    (FOUND, "{\"boxes\": []}", &["as `annotations` or `predictions`; it has \"boxes\""]),
    (FOUND, "{\"results\": [], \"annotations\": []}", &["has both `results` and `annotations`"]),
    (FOUND, "{\"predictions\": {}}", &["`predictions`: invalid type: map, expected a list"]),
    (FOUND, "5", &["a list of detections, or an object with such a list as `annotations`"]),
    (FOUND, "{}", &["expected a list of detections, or an object", "it has no keys"]),
    (FOUND, "[[]]", &["detections[0]", "an object with `image_id`"]),
    (FOUND, "[{}]", &["detections[0]: `category_id` is missing"]),
    ("\"counts\": \"231\"}},\n {\"image_id\": \"two\"", "", &["detections[0]"]),
    ("\"image_id\": 1,", "\"image_id\": 7,", &["detections[0]", "image_id 7 is not", "line 3"]),
    ("\"image_id\": 5", "\"image_id\": 5.5", &["detections[2]", "image_id", "got `5.5`"]),
    ("\"image_id\": 5", "\"image_id\": \"5\"", &["detections[2]", "but 5 is: spell both alike"]),
    ("\"category_id\": \"b\"", "\"category_id\": \"c\"", &["detections[1]", "category_id \"c\""]),
    (
        "\"score\": 0.5",
        "\"score\": NaN",
        &["detections[0]: `score`: invalid value: NaN, expected a number at line 2 column 49"],
    ),
    ("[1, 0, 2, 2]", "[1, 0, Infinity, 2]", &["detections[0]: `bbox`: invalid value: Infinity"]),
    ("\"score\": 0.5", "\"score\": null", &["detections[0]", "`score` is missing"]),
    (
        "\"score\": 0.5",
        "\"score\": \"high\"",
        &["detections[0]: `score`: invalid type: string \"high\", expected a number"],
    ),
    ("\"score\": 0.5", "\"score\": 1e999", &["detections[0]", "number out of range"]),
    ("[1, 0, 2, 2]", "[1, 0, 2]", &["detections[0]", "a bbox of four numbers"]),
    ("[1, 0, 2, 2]", "[1, 0, 2, 2, 2]", &["detections[0]", "a bbox of four numbers"]),
    ("[1, 0, 2, 2]", "[1, 0, 2, -2]", &["detections[0]", "width and height of at least 0"]),
    ("}}]", "}}, 3]", &["detections[3]"]),
    ("}}]", "}}", &["the file ends too early"]),
    ("}}]", "}}] 3", &["holds 2 JSON values"]),
    (
        "\"segmentation\": {\"size\": [2, 3], \"counts\": \"231\"}}]",
        "\"segmentation\": []}]",
        &["detections[2]", "has neither `bbox` nor `segmentation`"],
    ),
];

/// Faults of masks are reported only if masks are used.
const MASK_FAULTS: &[(&str, &str, &[&str])] = &[
    ("\"size\": [2, 3]", "\"size\": [3, 2]", &["detections[0]", "3×2", "2×3"]),
    ("\"counts\": \"231\"", "\"counts\": \"23\"", &["detections[0]", "segmentation"]),
    ("\"counts\": \"231\"", "\"counts\": \"2é1\"", &["detections[0]", "segmentation"]),
    ("\"counts\": \"231\"", "\"counts\": 5", &["detections[0]", "RLE counts"]),
    ("[[1, 1, 4, 1, 4, 3, 1, 3]]", "[[1, 1, 4]]", &["detections[1]", "at least 3 points"]),
    ("[[1, 1, 4, 1, 4, 3, 1, 3]]", "\"polygon\"", &["detections[1]", "a segmentation:"]),
];

fn assert_fault(folder: &Path, truth: &str, found: &str, iou_type: IouType, says: &[&str]) {
    let error = score(folder, truth.as_bytes(), found.as_bytes(), iou_type).unwrap_err();
    let text = format!("{error:#}");
    assert!(says.iter().all(|part| text.contains(part)), "expected {says:?} in: {text}");
    assert!(text.contains(if truth == TRUTH { "dt.json" } else { "gt.json" }), "{text}");
    assert_eq!(exit_code(&error), 3, "{text}");
}

#[test]
fn errors_name_the_file_and_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    for iou_type in [IouType::Bbox, IouType::Segm] {
        for (what, instead, says) in TRUTH_FAULTS {
            assert!(TRUTH.contains(what), "{what}");
            let truth = TRUTH.replacen(what, instead, 1);
            assert_fault(folder.path(), &truth, FOUND, iou_type, says);
        }
        for (what, instead, says) in FOUND_FAULTS {
            assert!(FOUND.contains(what), "{what}");
            let found = FOUND.replacen(what, instead, 1);
            assert_fault(folder.path(), TRUTH, &found, iou_type, says);
        }
    }
    for (what, instead, says) in MASK_FAULTS {
        assert!(FOUND.contains(what), "{what}");
        let found = FOUND.replacen(what, instead, 1);
        assert_fault(folder.path(), TRUTH, &found, IouType::Segm, says);
        assert!(score(folder.path(), TRUTH.as_bytes(), found.as_bytes(), IouType::Bbox).is_ok());
    }
}

#[test]
fn what_segm_needs_and_the_ground_truth_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let truth = TRUTH.replacen(
        "\"segmentation\": {\"size\": [2, 3], \"counts\": \"231\"}",
        "\"segmentation\": []",
        1,
    );
    assert_fault(
        folder.path(),
        &truth,
        FOUND,
        IouType::Segm,
        &["annotations[0]", "no segmentation"],
    );
    assert!(score(folder.path(), truth.as_bytes(), FOUND.as_bytes(), IouType::Bbox).is_ok());
    // An image whose size only its masks give: a box has none.
    let truth = r#"{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1}]}"#;
    let found = r#"[{"image_id": 1, "category_id": 1, "score": 1, "bbox": [0, 0, 1, 1]}]"#;
    let error = score(folder.path(), truth.as_bytes(), found.as_bytes(), IouType::Segm);
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("detections[0]") && error.contains("`height` and `width`"), "{error}");
}

#[test]
fn truncated_and_scrambled_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for end in (0..FOUND.len()).step_by(3) {
        assert!(
            score(folder.path(), TRUTH.as_bytes(), &FOUND.as_bytes()[..end], IouType::Segm)
                .is_err()
        );
    }
    for case in 0..300 {
        let mut rng = Rng::at(3, &[case]);
        let mut found = FOUND.as_bytes().to_vec();
        for _ in 0..1 + rng.below(3) {
            let place = rng.below(found.len() as u64) as usize;
            found[place] = rng.below(256) as u8;
        }
        let _ = score(folder.path(), TRUTH.as_bytes(), &found, IouType::Segm);
    }
}
