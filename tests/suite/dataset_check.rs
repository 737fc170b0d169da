//! Checking a dataset before training: other kinds of datasets, the report, its documentation.

use std::{fs, path::Path};

use serde_json::{self, Value, json};
use sonotune_audit::check::{CheckOptions, DatasetCheck, check};
use sonotune_base::image_io::DecodeOptions;
use sonotune_dataset::{
    DatasetConfig,
    findings::{Code, Severity},
};

use crate::support::{TINY_MODEL, assert_fails, sonotune};

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
fn the_text_names_place_and_remedy_and_the_exit_code_tells() {
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("a.png"), 1);
    save(&dir.path().join("b.png"), 2);
    let image =
        |id: u32, name: &str| json!({ "id": id, "file_name": name, "height": 40, "width": 40 });
    let object = |id: u32, image: u32, bbox: Value| {
        json!({ "id": id, "image_id": image,
        "category_id": 1, "bbox": bbox, "area": 100, "segmentation": [] })
    };
    let write = |annotations: Value| {
        let file = json!({ "images": [image(1, "a.png"), image(2, "b.png")],
            "annotations": annotations, "categories": [{ "id": 1, "name": "cyst" }] });
        fs::write(dir.path().join("train.json"), file.to_string()).unwrap();
    };
    let config = dir.path().join("config.toml");
    let root = dir.path().display();
    let text = format!(
        "run_dir = \"run\"\n[dataset]\ntype = \"coco\"\nroot = \"{root}\"\n\
         train = \"train.json\"\n{TINY_MODEL}"
    );
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    write(json!([object(5, 1, json!([30, 10, 20, 10])), object(6, 2, json!([3, 3, 10, 10]))]));
    let output = sonotune(&["data", "check", &config]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{text}");
    let line = format!(
        "    {root}/a.png (image id 1, annotations[0], annotation id 5, \"cyst\"): expected within \
         40x40 (height x width), got box [30, 10, 20, 10], which ends at (50, 20)\n"
    );
    assert!(
        text.contains("  doubt box-beyond-frame (1): a box reaches beyond its image\n"),
        "{text}"
    );
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("    -> check that it is [x, y, width, height]"), "{text}");
    let strict = sonotune(&["data", "check", &config, "--strict"]);
    assert_fails(&strict, 3, &["0 faults and 1 doubt in 2 images", "--strict"]);
    write(json!([object(5, 1, json!([3, 3, -1, 10])), object(6, 3, json!([3, 3, 10, 10]))]));
    assert_fails(&sonotune(&["data", "check", &config]), 3, &["2 faults"]);
    assert_fails(&sonotune(&["data", "check", &config, "--distance", "11"]), 2, &["0 to 10"]);
}

#[test]
fn every_code_is_documented_and_every_documented_code_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/data-check.md");
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
