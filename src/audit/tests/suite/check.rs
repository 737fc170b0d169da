//! Checking other kinds of datasets, and the page of what is found.

use std::{fs, path::Path};

use serde_json::{self, Value, json};
use sonotune_audit::check::{CheckOptions, DatasetCheck, check};
use sonotune_base::image_io::DecodeOptions;
use sonotune_dataset::{
    DatasetConfig,
    findings::{Code, Severity},
};

const DECODE: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1 << 20 };

fn checked(table: Value, decode: bool) -> DatasetCheck {
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
    check(&*config, CheckOptions::new(decode.then_some(DECODE)), &|| ()).unwrap()
}

/// `(split or -, code, count)`.
fn codes(report: &DatasetCheck) -> Vec<(String, Code, usize)> {
    let split =
        |split: Option<_>| split.map_or("-".to_owned(), |s: sonotune_dataset::Split| s.to_string());
    report.findings().map(|(s, f)| (split(s), f.code, f.count)).collect()
}

/// An image that differs from those of all other seeds.
fn save(path: &Path, seed: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = image::GrayImage::from_fn(40, 40, |x, y| {
        let hash = (x / 5 * 31 + y / 5 * 17 + 1009 * seed).wrapping_mul(2_654_435_761);
        image::Luma([(hash >> 24) as u8])
    });
    image.save(path).unwrap();
}

#[test]
fn a_list_is_read_past_its_faults() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..5 {
        save(&dir.path().join(format!("{seed}.png")), seed);
    }
    let train =
        "# a comment\n0.png cyst\nnothing\n1.png lump\n0.png cyst\n2.png mass\n9.png cyst\n";
    fs::write(dir.path().join("train.txt"), train).unwrap();
    fs::write(dir.path().join("val.txt"), "3.png mass\n2.png mass\n").unwrap();
    let table = json!({ "type": "list_file", "root": dir.path(), "train": "train.txt",
                        "val": "val.txt", "categories": ["cyst", "mass"] });
    let report = checked(table, true);
    let train = "train".to_owned();
    assert_eq!(
        codes(&report),
        [
            (train.clone(), Code::MalformedEntry, 1),
            (train.clone(), Code::UnknownCategory, 1),
            (train.clone(), Code::DuplicateFile, 1),
            (train, Code::MissingImage, 1),
            ("-".into(), Code::SharedImage, 1),
            ("-".into(), Code::UnlistedImage, 1),
        ]
    );
    let place = |i: usize| report.splits[0].findings[i].examples[0].to_string();
    assert!(place(0).ends_with("train.txt (line 3): expected `path label`, got `nothing`"));
    assert!(place(1).contains("(line 4)") && place(1).contains("the classes are \"cyst\""));
    assert!(place(2).contains("(line 5)") && place(2).contains("already in line 2"));
    // Opening the same list stops at the first fault.
    let config: Box<dyn DatasetConfig> = serde_json::from_value(json!({ "type": "list_file",
        "root": dir.path(), "train": "train.txt", "categories": ["cyst", "mass"] }))
    .unwrap();
    let error = config.open(sonotune_dataset::Split::Train).unwrap_err().to_string();
    assert!(error.contains("train.txt:3"), "{error}");
}

#[test]
fn a_folder_of_an_unknown_class_is_reported_and_the_others_read() {
    let dir = tempfile::tempdir().unwrap();
    for (i, name) in ["train/cyst/a", "train/cyst/b", "val/cyst/c", "val/lump/d"].iter().enumerate()
    {
        save(&dir.path().join(format!("{name}.png")), i as u32);
    }
    let table =
        json!({ "type": "image_folder", "root": dir.path(), "train": "train", "val": "val" });
    let report = checked(table.clone(), true);
    assert_eq!(
        codes(&report),
        [("train".into(), Code::SingleCategory, 1), ("val".into(), Code::UnknownCategory, 1),]
    );
    assert_eq!(report.splits[1].statistics.num_images, 1);
    // Without decoding, a file that is not an image is not detected.
    fs::write(dir.path().join("train/cyst/a.png"), "text").unwrap();
    assert_eq!(checked(table.clone(), false).num_faults, 1);
    assert_eq!(checked(table, true).num_faults, 2);
}

#[test]
fn a_task_that_learns_masks_is_told_of_those_that_lack() {
    let dir = tempfile::tempdir().unwrap();
    let square = json!([[5.0, 5.0, 20.0, 5.0, 20.0, 20.0, 5.0, 20.0]]);
    let triangle = json!([[5.0, 5.0, 20.0, 5.0, 20.0, 20.0]]);
    let (none, null) = (json!([]), Value::Null);
    // Segmentations of two objects, whether both are crowds, and what is found.
    let cases = [
        ([&triangle, &triangle], 0, vec![]),
        ([&none, &null], 0, vec![(Code::NoMasks, 1)]),
        ([&none, &triangle], 0, vec![(Code::BoxWithoutMask, 1)]),
        ([&square, &square], 0, vec![(Code::MasksAreBoxes, 1)]),
        ([&square, &triangle], 0, vec![]),
        ([&none, &triangle], 1, vec![(Code::NothingToLearn, 1)]),
    ];
    for (segmentations, crowds, expected) in cases {
        let image = |i: usize| {
            save(&dir.path().join(format!("{i}.png")), i as u32);
            json!({ "id": i, "file_name": format!("{i}.png"), "height": 40, "width": 40 })
        };
        let object = |i: usize| {
            json!({ "id": i, "image_id": i, "category_id": 1, "iscrowd": crowds, "area": 225.0,
                    "bbox": [5.0, 5.0, 15.0, 15.0], "segmentation": segmentations[i] })
        };
        let file = json!({ "images": [image(0), image(1)], "annotations": [object(0), object(1)],
                           "categories": [{ "id": 1, "name": "a" }] });
        fs::write(dir.path().join("train.json"), file.to_string()).unwrap();
        let table = json!({ "type": "coco", "root": dir.path(), "train": "train.json" });
        let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
        let found = |masks: bool| {
            let options = CheckOptions { masks, ..CheckOptions::new(None) };
            let report = check(&*config, options, &|| ()).unwrap();
            let of_masks =
                [Code::NothingToLearn, Code::NoMasks, Code::BoxWithoutMask, Code::MasksAreBoxes];
            let found = codes(&report).into_iter().map(|(_, code, count)| (code, count));
            found.filter(|(code, _)| of_masks.contains(code)).collect::<Vec<_>>()
        };
        assert_eq!(found(true), expected, "{segmentations:?}");
        // Other tasks do not care.
        assert_eq!(found(false), []);
    }
}

#[test]
fn what_is_strange_in_class_folders_is_reported_and_the_rest_read() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["cyst/a", "cyst/b", "cyst/b_mask", "mass/c", "mass/d", "beside"];
    for (i, name) in names.iter().enumerate() {
        save(&dir.path().join(format!("train/{name}.png")), i as u32);
    }
    for name in ["cyst/x.nii", "cyst/y.NII", "cyst/z", "scan/1.gif", "README.md", "Thumbs.db"] {
        let path = dir.path().join("train").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let mut table = json!({ "type": "image_folder", "root": dir.path(), "train": "train" });
    let report = checked(table.clone(), true);
    let train = || "train".to_owned();
    assert_eq!(
        codes(&report),
        [
            (train(), Code::ClassWithoutImages, 1),
            (train(), Code::MaskAmongImages, 1),
            (train(), Code::PassedOver, 3),
            (train(), Code::CategoryWithoutObjects, 1),
        ]
    );
    let found = |code: Code| {
        let of = report.findings().find(|(_, f)| f.code == code).unwrap().1;
        of.examples.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (code, part) in [
        (Code::ClassWithoutImages, "not read as images (1 .gif)"),
        (Code::MaskAmongImages, "b.png: dataset.exclude = [\"*_mask*\"]"),
        (Code::PassedOver, "2 files ending in .nii, not read as images, such as x.nii"),
        (Code::PassedOver, "1 file without an ending"),
        (Code::PassedOver, "1 file ending in .png, in no class folder, such as beside.png"),
    ] {
        assert!(found(code).contains(part), "{part}: {}", found(code));
    }
    // The advice can be followed.
    table["exclude"] = json!(["*_mask*", "scan"]);
    fs::remove_file(dir.path().join("train/beside.png")).unwrap();
    assert_eq!(codes(&checked(table, true)), [(train(), Code::PassedOver, 2)]);
}

#[test]
fn an_image_of_two_values_may_be_a_mask() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, name) in ["cyst/a.png", "cyst/b.png", "mass/c.png"].into_iter().enumerate() {
        save(&dir.path().join("train").join(name), seed as u32);
    }
    let mask = image::GrayImage::from_fn(40, 40, |x, _| image::Luma([255 * u8::from(x > 9)]));
    mask.save(dir.path().join("train/mass/c_lesion.png")).unwrap();
    let mut table = json!({ "type": "image_folder", "root": dir.path(), "train": "train" });
    let found = codes(&checked(table.clone(), true));
    assert_eq!(found, [("train".into(), Code::TwoToneImage, 1)]);
    table["exclude"] = json!(["*_lesion*"]);
    assert_eq!(codes(&checked(table, true)), []);
}

#[test]
fn nearly_equal_classes_and_contradicting_labels_are_doubted() {
    let dir = tempfile::tempdir().unwrap();
    for (name, seed) in [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("copy", 0), ("val", 1)] {
        save(&dir.path().join(format!("{name}.png")), seed);
    }
    let list = "0.png benign\n1.png Benign\n2.png cyst 1\n3.png cyst 2\ncopy.png Benign\n";
    fs::write(dir.path().join("train.txt"), list.replace("g ", "g\t")).unwrap();
    fs::write(dir.path().join("val.txt"), "val.png\tbenign\n").unwrap();
    let table = json!({ "type": "list_file", "root": dir.path(), "train": "train.txt",
                        "val": "val.txt" });
    let report = checked(table, true);
    assert_eq!(
        codes(&report),
        [
            ("train".into(), Code::ContradictingLabels, 1),
            ("train".into(), Code::IdenticalImages, 1),
            ("-".into(), Code::ContradictingLabels, 1),
            ("-".into(), Code::SharedImage, 1),
            ("-".into(), Code::SimilarCategories, 1),
        ]
    );
    let text = report.text(9).to_string();
    for part in [
        "labelled \"Benign\", but ",
        "0.png with the same pixels is labelled \"benign\"",
        "\"Benign\" (2 images) and \"benign\" (2 images) differ only in letter case",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn objects_on_equal_pixels_contradict_each_other_by_their_classes() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        save(&dir.path().join(format!("{name}.png")), 7);
    }
    let image = |id: u32, name: &str| {
        json!({ "id": id, "file_name": name, "height": 40, "width": 40,
                                               "patient_id": "p" })
    };
    let object = |image: u32, category: u32| json!({ "image_id": image, "category_id": category, "bbox": [5, 5, 20, 20], "area": 400 });
    let file = |images: Vec<Value>, annotations: Vec<Value>| {
        json!({ "images": images, "annotations": annotations,
                "categories": [{ "id": 1, "name": "cyst" }, { "id": 2, "name": "mass" }] })
    };
    let train = file(
        vec![image(1, "a.png"), image(2, "b.png"), image(3, "c.png")],
        vec![object(1, 1), object(1, 2), object(2, 2), object(2, 1)],
    );
    let val = file(vec![image(1, "d.png")], vec![object(1, 2), object(1, 1)]);
    fs::write(dir.path().join("train.json"), train.to_string()).unwrap();
    fs::write(dir.path().join("val.json"), val.to_string()).unwrap();
    let table = json!({ "type": "coco", "root": dir.path(), "train": "train.json",
                        "val": "val.json" });
    let report = checked(table, true);
    let found: Vec<_> = report
        .findings()
        .filter(|(_, f)| matches!(f.code, Code::ContradictingLabels | Code::SharedPatient))
        .map(|(_, f)| (f.code, f.count))
        .collect();
    // One of the three in training has no objects; that of val agrees with the first.
    assert_eq!(
        found,
        [(Code::ContradictingLabels, 1), (Code::ContradictingLabels, 1), (Code::SharedPatient, 1)]
    );
    assert!(report.text(9).to_string().contains("labelled no class, but "));
}

#[test]
fn a_key_that_may_mean_a_patient_is_doubted_if_splits_share_its_values() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, name) in ["a", "b", "c"].into_iter().enumerate() {
        save(&dir.path().join(format!("{name}.png")), seed as u32);
    }
    let write = |split: &str, images: &[(&str, &str)]| {
        let entry = |(id, (name, keys)): (usize, &(&str, &str))| {
            let keys: Value = serde_json::from_str(keys).unwrap();
            let mut image = json!({ "id": id, "file_name": name, "height": 40, "width": 40 });
            image.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            image
        };
        let object = |id: usize| json!({ "image_id": id, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400 });
        let file = json!({ "images": images.iter().enumerate().map(entry).collect::<Vec<_>>(),
            "annotations": (0..images.len()).map(object).collect::<Vec<_>>(),
            "categories": [{ "id": 1, "name": "cyst" }] });
        fs::write(dir.path().join(format!("{split}.json")), file.to_string()).unwrap();
    };
    let table = json!({ "type": "coco", "root": dir.path(), "train": "train.json",
                        "val": "val.json" });
    for (train, val, found) in [
        (r#"{"case_id":7}"#, r#"{"case_id":"7"}"#, Some(Code::SharedKey)),
        (r#"{"case_id":7}"#, r#"{"case_id":8}"#, None),
        (r#"{"case_id":""}"#, r#"{"case_id":""}"#, None),
        (r#"{"case_id":7,"PatientID":"a"}"#, r#"{"case_id":7,"PatientID":"b"}"#, None),
        (
            r#"{"case_id":7,"PatientID":"a"}"#,
            r#"{"case_id":8,"PatientID":"a"}"#,
            Some(Code::SharedPatient),
        ),
        (r#"{"patient":""}"#, r#"{"patient":""}"#, None),
    ] {
        write("train", &[("a.png", train), ("b.png", "{}")]);
        write("val", &[("c.png", val)]);
        let report = checked(table.clone(), true);
        let codes: Vec<Code> = report.findings().map(|(_, f)| f.code).collect();
        assert_eq!(codes, Vec::from_iter(found), "{train} {val}");
    }
}

#[test]
fn every_code_is_documented_and_every_documented_code_is_one() {
    let path = sonotune_testing::root().join("docs/data-check.md");
    let text = fs::read_to_string(path).unwrap();
    let table = text.split_once("<!-- codes -->").unwrap().1.split_once("<!-- end -->").unwrap().0;
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let severity = match code.severity() {
                Severity::Fault => "fault",
                Severity::Doubt => "doubt",
            };
            format!("| `{code}` | {severity} | {} | {} |", code.meaning(), code.remedy())
        })
        .collect();
    assert_eq!(rows, expected);
}
