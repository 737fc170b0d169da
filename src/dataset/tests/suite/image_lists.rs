//! Image folders, list files and bare images.

use std::path::Path;

use anyhow::Result;
use serde_json::{self, Value, json};
use sonotune_dataset::{Dataset, DatasetConfig, Split};
use sonotune_testing::assert_contains;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn open(root: &Path, split: Split, keys: Value) -> Result<Dataset> {
    let mut table = json!({ "root": root });
    table.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value::<Box<dyn DatasetConfig>>(table).unwrap().open(split)
}

/// `(id, labels)` of every record.
fn listed(data: &Dataset) -> Vec<(String, Vec<u32>)> {
    data.records.iter().map(|r| (r.image_id.to_string(), r.image_labels.clone())).collect()
}

fn assert_error(result: Result<Dataset>, code: u8, parts: &[&str]) {
    let error = result.unwrap_err();
    let text = format!("{error:#}");
    assert_eq!(sonotune_base::error::exit_code(&error), code, "{text}");
    assert_contains(&text, parts);
}

#[test]
fn folders_are_classes() {
    let dir = tree(&[
        ("train/malignant/p1/2.png", ""),
        ("train/malignant/1.JPG", ""),
        ("train/benign/3.bmp", ""),
        ("train/benign/notes.txt", ""),
        ("train/.cache/x/4.png", ""),
        ("val/malignant/5.tiff", ""),
    ]);
    let keys = json!({ "type": "image_folder", "train": "train", "val": "val" });
    let train = open(dir.path(), Split::Train, keys.clone()).unwrap();
    assert_eq!(train.category_names().collect::<Vec<_>>(), ["benign", "malignant"]);
    let expected =
        [("train/benign/3.bmp", 0), ("train/malignant/1.JPG", 1), ("train/malignant/p1/2.png", 1)];
    assert_eq!(listed(&train), expected.map(|(id, label)| (id.to_owned(), vec![label])));
    assert_eq!(train.notes, ["1 files passed over: not an image, or not in a class"]);
    train.verify_files().unwrap();

    let val = open(dir.path(), Split::Val, keys).unwrap();
    assert_eq!(listed(&val), [("val/malignant/5.tiff".to_owned(), vec![1])], "as in training");
}

#[test]
fn folder_mistakes_are_named() {
    let dir = tree(&[
        ("train/benign/1.png", ""),
        ("train/malignant/2.png", ""),
        ("val/bening/3.png", ""),
        ("flat/4.png", ""),
        ("bare/benign/5.txt", ""),
    ]);
    let open = |split, keys: Value| {
        let mut table = json!({ "type": "image_folder" });
        table.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        open(dir.path(), split, table)
    };
    let both = json!({ "train": "train", "val": "val" });
    assert_error(
        open(Split::Val, both),
        3,
        &["val/bening", "did you mean \"benign\"", "\"malignant\""],
    );
    assert_error(open(Split::Train, json!({ "train": "trian" })), 3, &["trian", "no such folder"]);
    assert_error(
        open(Split::Train, json!({ "train": "flat" })),
        3,
        &["flat", "one folder of images per class"],
    );
    assert_error(
        open(Split::Train, json!({ "train": "bare" })),
        3,
        &["bare: no images", "1 files passed over"],
    );
    assert_error(open(Split::Test, json!({ "train": "train" })), 2, &["dataset.test is not set"]);
    let named = json!({ "train": "train", "categories": ["malignant"] });
    assert_error(open(Split::Train, named), 3, &["train/benign", "is not a class"]);
}

const LIST: &str = "# path label\n\nimages/case 1.png  benign\nimages/2.png\tmalignant,benign\n";

#[test]
fn lists_take_names_indices_and_several_labels() {
    let dir = tree(&[
        ("train.txt", LIST),
        ("val.txt", "\u{feff}a.png 1\r\nb.png benign\r\n"),
        ("numbers.txt", "a.png 3\nb.png 0\n"),
    ]);
    let keys = |split: &str, list: &str| json!({ "type": "list_file", split: list, "check_files": "none" });
    let train = open(dir.path(), Split::Train, keys("train", "train.txt")).unwrap();
    assert_eq!(train.category_names().collect::<Vec<_>>(), ["benign", "malignant"]);
    let expected = [("images/case 1.png", vec![0]), ("images/2.png", vec![0, 1])];
    assert_eq!(listed(&train), expected.map(|(id, labels)| (id.to_owned(), labels)));
    assert_eq!(train.records[0].path, dir.path().join("images/case 1.png"));
    assert_eq!(train.source_sha256.as_deref().map(str::len), Some(64));

    let mut with_train = keys("val", "val.txt");
    with_train["train"] = json!("train.txt");
    let val = open(dir.path(), Split::Val, with_train).unwrap();
    assert_eq!(listed(&val), [("a.png".into(), vec![1]), ("b.png".into(), vec![0])]);

    let numbers = open(dir.path(), Split::Train, keys("train", "numbers.txt")).unwrap();
    assert_eq!(numbers.category_names().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert_eq!(listed(&numbers), [("a.png".into(), vec![3]), ("b.png".into(), vec![0])]);
}

#[test]
fn list_mistakes_are_named_with_their_line() {
    let dir = tree(&[
        ("good.txt", LIST),
        ("typo.txt", "a.png benign\nb.png maligant\n"),
        ("index.txt", "a.png 2\n"),
        ("comma.txt", "a.png benign,\n"),
        ("bare.txt", "# x\na.png\n"),
        ("twice.txt", "a.png benign\n\na.png malignant\n"),
        ("empty.txt", "# nothing\n"),
        ("dates.txt", "a.png 20240131\n"),
    ]);
    let open = |list: &str, named: bool, check: &str| {
        let mut table = json!({ "type": "list_file", "train": list, "check_files": check });
        if named {
            table["categories"] = json!(["benign", "malignant"]);
        }
        open(dir.path(), Split::Train, table)
    };
    let malignant = "did you mean \"malignant\"";
    assert_error(open("typo.txt", true, "none"), 3, &["typo.txt:2", "\"maligant\"", malignant]);
    assert_error(open("index.txt", true, "none"), 3, &["index.txt:1", "\"2\"", "indices 0 to 1"]);
    assert_error(open("comma.txt", true, "none"), 3, &["comma.txt:1", "label \"\""]);
    assert_error(open("bare.txt", true, "none"), 3, &["bare.txt:2", "expected `path label`"]);
    assert_error(open("twice.txt", true, "none"), 3, &["twice.txt:3", "already in line 1"]);
    assert_error(open("empty.txt", true, "none"), 3, &["empty.txt: no images"]);
    assert_error(open("dates.txt", false, "none"), 3, &["dates.txt", "name the classes"]);
    assert_error(open("absent.txt", true, "none"), 3, &["absent.txt"]);
    assert_error(open("good.txt", true, "some"), 3, &["images/case 1.png", "2 of 2"]);
}

#[test]
fn bare_images_have_their_relative_path_as_id() {
    let dir = tree(&[("b/2.png", ""), ("1.webp", ""), ("b/x.csv", "")]);
    let data = Dataset::from_images(dir.path()).unwrap();
    assert_eq!(listed(&data), [("1.webp".into(), vec![]), ("b/2.png".into(), vec![])]);
    let one = Dataset::from_images(&dir.path().join("b/2.png")).unwrap();
    assert_eq!(listed(&one), [("2.png".into(), vec![])]);

    assert_error(Dataset::from_images(&dir.path().join("none")), 3, &["no such file or folder"]);
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    assert_error(Dataset::from_images(&dir.path().join("empty")), 3, &["empty: no images"]);
}
