//! Images whose names in the annotation file lead nowhere: read, or the error says where they are, and what
//! it says helps.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use sonotune_dataset::{
    Dataset, DatasetConfig, Split,
    findings::{Audit, Code},
};

/// A folder with `files` and an annotation file at `annotations` that lists `names`.
fn dataset(files: &[&str], annotations: &str, names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        write(&dir.path().join(file), "");
    }
    let images: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(i, name)| json!({ "id": i, "file_name": name, "height": 4, "width": 4 }))
        .collect();
    let categories = json!([{ "id": 1, "name": "cyst" }]);
    let file = json!({ "images": images, "annotations": [], "categories": categories });
    write(&dir.path().join(annotations), &file.to_string());
    dir
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn config(root: &Path, keys: &Value) -> Box<dyn DatasetConfig> {
    let mut table = json!({ "type": "coco", "root": root });
    table.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(table).unwrap()
}

fn open(root: &Path, keys: &Value) -> Result<Dataset> {
    config(root, keys).open(Split::Train)
}

fn missing(audit: Audit) -> (usize, Option<String>) {
    let hint = |audit: &Audit| {
        let image = audit.images.iter().find(|image| !image.path.is_file())?;
        audit.elsewhere.as_ref()?.hint(&image.path)
    };
    (audit.images.iter().filter(|image| !image.path.is_file()).count(), hint(&audit))
}

#[test]
fn names_of_another_system_are_read_and_noted() {
    let names = [r"scans\a 1.png", r"scans\b.PNG"];
    let dir = dataset(&["img/scans/a 1.png", "img/scans/b.png"], "train.json", &names);
    let keys = json!({ "train": "train.json", "images": "img", "check_files": "all" });
    let data = open(dir.path(), &keys).unwrap();
    assert!(
        data.notes[0].starts_with("file names of 2 images are spelled differently"),
        "{:?}",
        data.notes
    );
    assert_eq!(data.records[1].path, dir.path().join("img/scans/b.png"));
    // Patterns are those of the disk.
    let mut without = keys.clone();
    without["exclude"] = json!(["scans/a*"]);
    assert_eq!(open(dir.path(), &without).unwrap().records.len(), 1);
    assert_eq!(missing(config(dir.path(), &keys).audit(Split::Train)), (0, None));
}

/// Files, names, keys of the config, the hint, and what it says to do: text to remove from each name, the name
/// to write, the folder to set.
type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a str, &'a str, Obey<'a>);

#[derive(Debug, Default, Clone, Copy)]
struct Obey<'a> {
    remove: Option<&'a str>,
    folder: Option<(&'a str, &'a str)>,
}

const fn remove(text: &str) -> Obey<'_> {
    Obey { remove: Some(text), folder: None }
}

const fn set<'a>(key: &'a str, folder: &'a str) -> Obey<'a> {
    Obey { remove: None, folder: Some((key, folder)) }
}

const CASES: &[Case<'_>] = &[
    (
        &["images/0.png", "images/1.png"],
        &["0.png", "1.png"],
        r#"{"train": "train.json"}"#,
        "images/0.png exists: set dataset.images = \"images\"",
        set("images", "images"),
    ),
    (
        &["data/JPEGImages/0.jpg"],
        &["0.jpg"],
        r#"{"train": {"annotations": "data/train.json", "images": "data/images"}}"#,
        "data/JPEGImages/0.jpg exists: set dataset.train.images = \"data/JPEGImages\"",
        set("train", "data/JPEGImages"),
    ),
    (
        &["images/0.png"],
        &["images/0.png"],
        r#"{"train": "train.json", "images": "images"}"#,
        "images/0.png exists: set dataset.images = \".\"",
        set("images", "."),
    ),
    (
        &["set/images/0.png"],
        &["0.png"],
        r#"{"train": "set/annotations/train.json"}"#,
        "set/images/0.png exists: set dataset.images = \"set/images\"",
        set("images", "set/images"),
    ),
    (
        &["images/0.png", "images/1.png"],
        &["/mnt/scans/0.png", "/mnt/scans/1.png"],
        r#"{"train": "train.json", "images": "images"}"#,
        "images/0.png exists: remove \"/mnt/scans/\" from `file_name`",
        remove("/mnt/scans/"),
    ),
    (
        &["images/0.png"],
        &[r"D:\scans\0.png"],
        r#"{"train": "train.json", "images": "images"}"#,
        r#"images/0.png exists: remove "D:\\scans\\" from `file_name`"#,
        remove(r"D:\scans\"),
    ),
    (
        &["images/0.png"],
        &[r"..\..\media\upload\4\0.png"],
        r#"{"train": "train.json", "images": "images"}"#,
        r#"images/0.png exists: remove "..\\..\\media\\upload\\4\\" from `file_name`"#,
        remove(r"..\..\media\upload\4\"),
    ),
    (
        &["images/0.png"],
        &["http://localhost:8080/data/upload/1/0.png"],
        r#"{"train": "train.json", "images": "images"}"#,
        "images/0.png exists: remove \"http://localhost:8080/data/upload/1/\" from `file_name`",
        remove("http://localhost:8080/data/upload/1/"),
    ),
    (
        &["images/0.png"],
        &["/data/local-files/?d=images/0.png"],
        r#"{"train": "train.json"}"#,
        "images/0.png exists: remove \"/data/local-files/?d=\" from `file_name`",
        remove("/data/local-files/?d="),
    ),
    (
        &["images/0.png"],
        &["/data/local-files/?d=images/0.png"],
        r#"{"train": "train.json", "images": "images"}"#,
        "images/0.png exists: remove \"/data/local-files/?d=images/\" from `file_name`",
        remove("/data/local-files/?d=images/"),
    ),
    (
        &["img/p1/0.png", "img/p2/0.png"],
        &["/home/me/set/img/p1/0.png", "/home/me/set/img/p2/0.png"],
        r#"{"train": "train.json"}"#,
        "img/p1/0.png exists: remove \"/home/me/set/\" from `file_name`",
        remove("/home/me/set/"),
    ),
    (
        &["images/0.png"],
        &["~/scans/0.png"],
        r#"{"train": "train.json", "images": "img"}"#,
        "images/0.png exists: remove \"~/scans/\" from `file_name` and set dataset.images = \"images\"",
        Obey { remove: Some("~/scans/"), folder: Some(("images", "images")) },
    ),
];

#[test]
fn what_the_error_says_helps() {
    for (files, names, keys, hint, obey) in CASES {
        let mut keys: Value = serde_json::from_str(keys).unwrap();
        let annotations = keys["train"]["annotations"].as_str().or(keys["train"].as_str());
        let annotations = annotations.unwrap().to_owned();
        let dir = dataset(files, &annotations, names);
        let error = open(dir.path(), &keys).unwrap_err().to_string();
        let hint = format!("{}/{hint}", dir.path().display());
        let count = format!("({0} of {0} files checked are missing); ", names.len());
        assert!(error.ends_with(&(count + &hint)), "{error}\n  expected: {hint}");
        let (num_missing, found) = missing(config(dir.path(), &keys).audit(Split::Train));
        assert_eq!((num_missing, found), (names.len(), Some(hint)));

        let text = std::fs::read_to_string(dir.path().join(&annotations)).unwrap();
        if let Some(part) = obey.remove {
            let part = serde_json::to_string(part).unwrap();
            let text = text.replace(part.trim_matches('"'), "");
            std::fs::write(dir.path().join(&annotations), text).unwrap();
        }
        match obey.folder {
            Some(("train", folder)) => keys["train"]["images"] = folder.into(),
            Some((key, folder)) => keys[key] = folder.into(),
            None => {}
        }
        keys["check_files"] = "all".into();
        open(dir.path(), &keys).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn images_that_are_nowhere_are_not_guessed() {
    for (files, names) in [
        // Another image of that name, beside images that are where they should be.
        (&["0.png", "val/1.png"][..], &["0.png", "1.png"][..]),
        // Only one of several is there.
        (&["images/0.png"], &["/mnt/0.png", "/mnt/1.png"]),
        // One file for two images.
        (&["0.png"], &["p1/0.png", "p2/0.png"]),
        (&[], &["0.png"]),
    ] {
        let dir = dataset(files, "train.json", names);
        let error = open(dir.path(), &json!({ "train": "train.json" })).unwrap_err().to_string();
        assert!(error.ends_with("are missing); check the image folder in the config"), "{error}");
    }
    let dir = dataset(&["0.jpg"], "train.json", &["0.png"]);
    let error = open(dir.path(), &json!({ "train": "train.json" })).unwrap_err().to_string();
    assert!(error.ends_with(&format!("there is {}/0.jpg", dir.path().display())), "{error}");
}

#[test]
fn coordinates_from_0_to_1_are_refused_and_those_of_single_objects_noted() {
    let dir = dataset(&[], "train.json", &["0.png"]);
    let path = dir.path().join("train.json");
    let empty = std::fs::read_to_string(&path).unwrap();
    let with = |objects: &str| {
        std::fs::write(
            &path,
            empty.replace("\"annotations\":[]", &format!("\"annotations\":[{objects}]")),
        )
        .unwrap();
        config(dir.path(), &json!({ "train": "train.json", "check_files": "none" }))
    };
    let share = r#"{"id": 8, "image_id": 0, "category_id": 1, "bbox": [0.25, 0.5, 0.5, 0.5]}"#;
    let error = with(share).open(Split::Train).unwrap_err().to_string();
    assert!(
        error.contains("annotations[0] (id 8): its coordinates are between 0 and 1"),
        "{error}"
    );
    let audit = with(share).audit(Split::Train);
    let mut codes = audit.findings.sorted().into_iter().map(|finding| finding.code);
    assert!(codes.any(|code| code == Code::NormalisedCoordinates));

    let whole = share.replace("8", "9").replace("[0.25, 0.5, 0.5, 0.5]", "[1, 2, 2, 2]");
    let data = with(&format!("{share},{whole}")).open(Split::Train).unwrap();
    assert!(
        data.notes[0].starts_with("1 of 2 objects with coordinates between"),
        "{:?}",
        data.notes
    );
    // What the error says helps: the image has 4×4 pixels.
    with(&share.replace("[0.25, 0.5, 0.5, 0.5]", "[1, 2, 2, 2]")).open(Split::Train).unwrap();
}
