//! Valid COCO files, in all their variants.

use std::path::Path;

use anyhow::Result;
use serde_json::{self, Value, json};
use sonotune_base::Segmentation;
use sonotune_dataset::{Dataset, DatasetConfig, Split};
use sonotune_testing::assert_contains;

/// Writes annotation files into a folder and opens them as a config would.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The `[dataset]` table with `root` set and without checking image files.
    fn config(&self, keys: Value) -> Box<dyn DatasetConfig> {
        let mut table = json!({ "type": "coco", "root": self.path(), "check_files": "none" });
        table.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        serde_json::from_value(table).unwrap()
    }

    fn open(&self, split: Split, keys: Value) -> Result<Dataset> {
        self.config(keys).open(split)
    }
}

/// Three images, of which the last is empty; categories with ids out of order.
const PLAIN: &str = r#"{
    "info": {"year": 2024, "nested": [[1, {"a": null}]]},
    "annotations": [
        {"id": 1, "image_id": 10, "category_id": 9, "bbox": [1, 1, 3, 2], "area": 6, "iscrowd": 0,
         "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]},
        {"id": 2, "image_id": 11, "category_id": 4, "bbox": [1, 0, 2, 2], "area": 3, "iscrowd": 1,
         "segmentation": {"size": [2, 3], "counts": [2, 3, 1]}},
        {"id": 3, "image_id": 10, "category_id": 4, "bbox": [0, 0, 6, 5], "area": 30, "iscrowd": 0,
         "segmentation": []}
    ],
    "categories": [{"id": 9, "name": "malignant"}, {"id": 4, "name": "benign"}],
    "images": [
        {"id": 10, "file_name": "a.png", "height": 5, "width": 6, "license": 3},
        {"id": 11, "file_name": "deep/b.png", "height": 2, "width": 3},
        {"id": 12, "file_name": "c.png"}
    ]
}"#;

#[test]
fn lists_may_come_in_any_order_and_join_by_id() {
    let files = Files::new(&[("train.json", PLAIN)]);
    let data = files.open(Split::Train, json!({ "train": "train.json", "images": "img" })).unwrap();
    assert_eq!(data.category_names().collect::<Vec<_>>(), ["malignant", "benign"]);
    let [a, b, c] = &data.records[..] else { panic!("three images") };
    assert_eq!((a.size, c.size), (Some((5, 6)), None));
    assert_eq!(b.path, files.path().join("img/deep/b.png"));
    assert_eq!((a.objects.len(), b.objects.len(), c.objects.len()), (2, 1, 0));
    assert_eq!([&a.image_labels[..], &b.image_labels, &c.image_labels], [&[0, 1][..], &[1], &[]]);
    assert_eq!(a.objects[0].bbox, [1.0, 1.0, 3.0, 2.0]);
    assert!(b.objects[0].is_crowd && !a.objects[0].is_crowd);
    assert_eq!(a.objects[1].segmentation, Segmentation::None);
    for (object, size, area) in [(&a.objects[0], (5, 6), 6), (&b.objects[0], (2, 3), 3)] {
        let rle = object.segmentation.rasterize(size, object.bbox).unwrap();
        assert_eq!((rle.area(), rle.bbox()), (area, object.bbox));
    }
}

#[test]
fn the_summary_prints_the_mapping_and_the_hash_is_the_files() {
    let files = Files::new(&[("train.json", PLAIN)]);
    let data = files.open(Split::Train, json!({ "train": "train.json" })).unwrap();
    let summary = data.summary();
    assert!(summary.contains("3 images of 2x3 to 5x6, 3 objects (1 as crowds), 1 image without"));
    assert!(summary.contains("class 0 = malignant  (id 9): 1 object, 1 image\n"));
    // sha256sum of PLAIN.
    assert_eq!(data.source_sha256.unwrap(), SHA256_OF_PLAIN);
}

const SHA256_OF_PLAIN: &str = "9e5ad6f1cb47b9e3609c0bcfa4cdf7f527afad180061f03540886afe7ffec31d";

#[test]
fn ids_of_any_kind_find_their_annotations_and_come_back_as_spelled() {
    let uuid = "340282366920938463463374607431768211455";
    let text = format!(
        r#"{{"images": [
            {{"id": {uuid}, "file_name": "a.png"}},
            {{"id": -7, "file_name": "b.png"}},
            {{"id": "scan/3", "file_name": "c.png"}},
            {{"id": "18", "file_name": "d.png"}},
            {{"id": 18, "file_name": "e.png"}}],
        "annotations": [
            {{"id": {uuid}, "image_id": {uuid}, "category_id": 1, "bbox": [0, 0, 1, 1]}},
            {{"id": "x", "image_id": -7, "category_id": 1, "bbox": [1, 0, 1, 1]}},
            {{"image_id": "scan/3", "category_id": 1, "bbox": [2, 0, 1, 1]}},
            {{"image_id": "18", "category_id": 1, "bbox": [3, 0, 1, 1]}},
            {{"image_id": 18, "category_id": 1, "bbox": [4, 0, 1, 1]}}],
        "categories": [{{"id": 1, "name": "object"}}]}}"#
    );
    let files = Files::new(&[("a.json", &text)]);
    let data = files.open(Split::Test, json!({ "test": "a.json" })).unwrap();
    let spelled: Vec<_> =
        data.records.iter().map(|r| serde_json::to_string(&r.image_id).unwrap()).collect();
    assert_eq!(spelled, [uuid, "-7", "\"scan/3\"", "\"18\"", "18"]);
    for (i, record) in data.records.iter().enumerate() {
        assert_eq!(record.objects.len(), 1);
        assert_eq!(record.objects[0].bbox[0], i as f64);
        assert_eq!(record.objects[0].area, 1.0, "computed from the box");
    }
    assert_eq!(data.notes, ["5 objects lacked area or bbox: computed"]);
}

#[test]
fn box_and_area_come_from_the_mask_where_the_file_has_none() {
    let text = r#"{"images": [{"id": 0, "file_name": "a.png", "height": 2, "width": 3}],
        "annotations": [
            {"image_id": 0, "category_id": 1, "segmentation": {"size": [2, 3], "counts": "231"}},
            {"image_id": 0, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 1]]}],
        "categories": [{"id": 1, "name": "object"}]}"#;
    let files = Files::new(&[("a.json", text)]);
    let data = files.open(Split::Val, json!({ "val": "a.json" })).unwrap();
    let [rle, polygon] = &data.records[0].objects[..] else { panic!("two objects") };
    assert_eq!((rle.bbox, rle.area), ([1.0, 0.0, 2.0, 2.0], 3.0));
    assert_eq!((polygon.bbox, polygon.area), ([0.0, 0.0, 2.0, 1.0], 1.0));
}

/// Like [`PLAIN`], with the same names under other ids, in another order.
fn renumbered() -> String {
    PLAIN
        .replace(
            r#"[{"id": 9, "name": "malignant"}, {"id": 4, "name": "benign"}]"#,
            r#"[{"id": 9, "name": "benign"}, {"id": 4, "name": "malignant"}]"#,
        )
        .replace("\"info\"", "\"about\"")
}

#[test]
fn splits_agree_on_class_indices_by_name() {
    let files = Files::new(&[("train.json", PLAIN), ("val.json", &renumbered())]);
    let keys = json!({ "train": "train.json", "val": { "annotations": "val.json" } });
    let val = files.open(Split::Val, keys.clone()).unwrap();
    assert_eq!(val.category_names().collect::<Vec<_>>(), ["malignant", "benign"]);
    assert_eq!((val.categories[0].id, val.categories[1].id), (4, 9));
    assert_eq!(val.records[1].objects[0].category, 0, "id 4 is malignant in this file");

    let mut ordered = keys;
    ordered["categories"] = json!(["benign", "malignant"]);
    for split in [Split::Train, Split::Val] {
        let data = files.open(split, ordered.clone()).unwrap();
        assert_eq!(data.category_names().collect::<Vec<_>>(), ["benign", "malignant"]);
    }
}

#[test]
fn a_split_with_other_names_is_refused_and_both_lists_shown() {
    let files =
        Files::new(&[("train.json", PLAIN), ("val.json", &PLAIN.replace("benign", "bening"))]);
    let keys = json!({ "train": "train.json", "val": "val.json" });
    let error = files.open(Split::Val, keys).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 3);
    let text = format!("{error:#}");
    let said = [
        "val.json",
        "train.json",
        "unknown \"bening\"",
        "did you mean \"benign\"",
        "[\"malignant\", \"bening\"]",
    ];
    assert_contains(&text, &said);
}

#[test]
fn objects_can_be_one_class_or_left_out_by_class() {
    let files = Files::new(&[("a.json", PLAIN)]);
    let open = |keys: Value| {
        let mut table = json!({ "train": "a.json" });
        table.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        files.open(Split::Train, table)
    };
    let agnostic = open(json!({ "agnostic": true })).unwrap();
    assert_eq!(agnostic.category_names().collect::<Vec<_>>(), ["object"]);
    assert_eq!((agnostic.num_objects(), &agnostic.records[0].image_labels[..]), (3, &[0][..]));

    let keys = json!({ "ignore_categories": ["malignant"], "keep_empty": false });
    let benign = open(keys).unwrap();
    assert_eq!((benign.records.len(), benign.num_objects()), (2, 2));
    assert_eq!(
        benign.notes,
        [
            "1 objects left out (ignore_categories)",
            "1 of 3 images left out: no objects (keep_empty = false)"
        ]
    );
    assert!(open(json!({ "image_label": "none" })).unwrap().records[0].image_labels.is_empty());

    for (keys, part) in [
        (json!({ "ignore_categories": ["maligmant"] }), "did you mean \"malignant\""),
        (json!({ "agnostic": true, "categories": ["benign"] }), "agnostic"),
        (json!({ "categories": ["benign", "benign"] }), "twice"),
        (json!({ "categories": [] }), "is empty"),
        (json!({ "categories": ["benign"], "ignore_categories": ["benign"] }), "leaves out"),
        (json!({ "categories": ["benign"] }), "unknown \"malignant\""),
        (json!({ "categories": ["benign", "malignant", "cyst"] }), "missing \"cyst\""),
    ] {
        let error = format!("{:#}", open(keys).unwrap_err());
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_category_without_objects_is_noted_and_can_be_left_out() {
    let root = r#"[{"id": 0, "name": "lesions", "supercategory": "none"}, "#;
    let with_root = PLAIN.replace(r#""categories": ["#, &format!(r#""categories": {root}"#));
    let files =
        Files::new(&[("train.json", &with_root), ("val.json", &with_root), ("plain.json", PLAIN)]);
    let keys = json!({ "train": "train.json", "val": "val.json" });
    let data = files.open(Split::Train, keys.clone()).unwrap();
    let note = "category \"lesions\" has no object, but is a class; to leave it out: \
                dataset.ignore_categories = [\"lesions\"]";
    assert_eq!(data.notes, [note]);
    assert!(files.open(Split::Val, keys.clone()).unwrap().notes.is_empty());
    for val in ["val.json", "plain.json"] {
        let mut obeyed = keys.clone();
        obeyed["ignore_categories"] = json!(["lesions"]);
        obeyed["val"] = json!(val);
        for split in [Split::Train, Split::Val] {
            let data = files.open(split, obeyed.clone()).unwrap();
            assert_eq!(data.category_names().collect::<Vec<_>>(), ["malignant", "benign"]);
            assert!(data.notes.is_empty(), "{:?}", data.notes);
        }
    }
    // Who lists the categories wants them.
    let mut listed = keys;
    listed["categories"] = json!(["lesions", "malignant", "benign"]);
    assert!(files.open(Split::Train, listed).unwrap().notes.is_empty());
}

#[test]
fn numbers_as_texts_and_texts_as_numbers_are_read() {
    let text = PLAIN
        .replace(r#""height": 5, "width": 6"#, r#""height": "5", "width": "6.0", "age": NaN"#)
        .replace("[1, 1, 3, 2]", r#"["1", "1.0", 3, 2]"#)
        .replace(r#""area": 6, "iscrowd": 0"#, r#""area": "6", "iscrowd": "0""#)
        .replace("[[1, 1, 4, 1, 4, 3, 1, 3]]", r#"[["1", 1, 4, 1, 4, 3, 1, 3]]"#)
        .replace(
            r#""size": [2, 3], "counts": [2, 3, 1]"#,
            r#""size": ["2", 3.0], "counts": [2, "3", 1.0]"#,
        )
        .replace(r#""category_id": 9"#, r#""category_id": "9""#)
        // As older versions of VIA write ids.
        .replace(r#""image_id": 10"#, r#""image_id": "10""#)
        .replace(r#""id": 11,"#, r#""id": "11","#)
        .replace(r#""malignant""#, "1");
    let files = Files::new(&[("plain.json", PLAIN), ("train.json", &text)]);
    let plain = files.open(Split::Train, json!({ "train": "plain.json" })).unwrap();
    let data = files.open(Split::Train, json!({ "train": "train.json" })).unwrap();
    assert_eq!(data.category_names().collect::<Vec<_>>(), ["1", "benign"]);
    let records = |data: &Dataset| {
        data.records.iter().map(|r| format!("{:?} {:?}", r.size, r.objects)).collect::<Vec<_>>()
    };
    assert_eq!(records(&data), records(&plain));
    let audit = files.config(json!({ "train": "train.json" })).audit(Split::Train);
    assert!(!audit.findings.has_faults(), "{:?}", audit.findings);
    assert_eq!(records(&audit.dataset()), records(&plain));
}

#[test]
fn a_category_of_one_split_alone_can_be_ignored() {
    let more = PLAIN.replace("malignant", "cyst");
    assert_ne!(more, PLAIN);
    let files = Files::new(&[("a.json", PLAIN), ("b.json", &more)]);
    let keys = |ignored: &[&str]| {
        json!({ "train": "a.json", "val": "b.json", "check_files": "none",
                "ignore_categories": ignored })
    };
    let error = files.open(Split::Val, keys(&[])).unwrap_err().to_string();
    assert!(error.contains("List unwanted categories in dataset.ignore_categories"), "{error}");
    for split in [Split::Train, Split::Val] {
        let data = files.open(split, keys(&["malignant", "cyst"])).unwrap();
        assert_eq!(data.category_names().collect::<Vec<_>>(), ["benign"]);
        let error = files.open(split, keys(&["malignant", "cysts"])).unwrap_err().to_string();
        assert!(error.contains("no category \"cysts\""), "{error}");
    }
}

#[test]
fn config_mistakes_are_named() {
    let files = Files::new(&[("a.json", PLAIN)]);
    let error = files.open(Split::Val, json!({ "train": "a.json" })).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 2);
    assert_eq!(error.to_string(), "dataset.val is not set; the config names \"train\"");
    let read = |table: Value| {
        serde_json::from_value::<Box<dyn DatasetConfig>>(table).unwrap_err().to_string()
    };
    assert!(read(json!({ "type": "coco", "trian": "a.json" })).contains("unknown field `trian`"));
    let split = json!({ "type": "coco", "train": { "annotation": "a.json" } });
    assert!(read(split).contains("unknown field `annotation`, expected `annotations` or `images`"));
    assert!(read(json!({ "type": "coco", "train": 3 })).contains("an annotation file, or {"));
}

#[test]
fn a_wrong_image_folder_shows_at_once() {
    let files = Files::new(&[("a.json", PLAIN), ("a.png", ""), ("deep/b.png", "")]);
    let keys = |check: &str| json!({ "train": "a.json", "check_files": check });
    for check in ["some", "all"] {
        let error = files.open(Split::Train, keys(check)).unwrap_err().to_string();
        assert!(error.contains("image 12 has no file") && error.contains("c.png"), "{error}");
        assert!(error.contains("1 of 3"), "{error}");
    }
    files.open(Split::Train, keys("none")).unwrap();
}

#[test]
fn real_masks_have_the_area_and_box_that_their_file_says() {
    let Some(root) = sonotune_testing::shared("data/mmotu2d-sample") else { return };
    let table = json!({
        "type": "coco", "root": root, "images": "images", "test": "annotations.json"
    });
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
    let data = config.open(Split::Test).unwrap();
    assert_eq!((data.records.len(), data.num_objects()), (10, 10));
    data.verify_files().unwrap();
    for record in &data.records {
        for object in &record.objects {
            let rle = object.segmentation.rasterize(record.size.unwrap(), object.bbox).unwrap();
            assert_eq!((rle.area() as f64, rle.bbox()), (object.area, object.bbox));
        }
    }
}

#[test]
fn the_size_of_a_pixel_is_read_and_checked() {
    let given = |value: &str| {
        let spacing = format!("\"file_name\": \"a.png\", \"pixel_spacing\": {value}");
        let text = PLAIN.replace("\"file_name\": \"a.png\"", &spacing);
        Files::new(&[("train.json", &text)])
    };
    let keys = || json!({ "train": "train.json" });
    let dataset = given("[0.2, 0.1]").open(Split::Train, keys()).unwrap();
    let spacings: Vec<_> = dataset.records.iter().map(|record| record.spacing).collect();
    assert_eq!(spacings, [Some([0.2, 0.1]), None, None]);
    assert_eq!(given("null").open(Split::Train, keys()).unwrap().records[0].spacing, None);
    for (wrong, got) in [
        ("0.2", "floating point `0.2`"),
        ("\"0.2\\\\0.2\"", "string"),
        ("[0.2]", "length 1"),
        ("[0.2, 0.2, 1]", "length 3"),
        ("[0.2, 0]", "floating point `0.0`"),
        ("[-0.2, 0.2]", "floating point `-0.2`"),
        ("[0.2, NaN]", "NaN"),
        ("[0.2, 1e999]", "number"),
        ("[0.2, null]", "null"),
    ] {
        let files = given(wrong);
        let error = format!("{:#}", files.open(Split::Train, keys()).unwrap_err());
        assert_contains(&error, &["train.json", "images[0]", "`pixel_spacing`", got]);
        let audit = files.config(keys()).audit(Split::Train);
        assert!(audit.findings.has_faults(), "{wrong}");
    }
    let audit = given("[0.2, 0.1]").config(keys()).audit(Split::Train);
    assert_eq!(audit.images[0].spacing, Some([0.2, 0.1]));
    assert_eq!(audit.dataset().records[0].spacing, Some([0.2, 0.1]));
}
