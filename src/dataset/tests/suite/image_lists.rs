//! Image folders, list files and bare images.

use std::path::Path;

use anyhow::Result;
use serde_json::{self, Value, json};
use sonotune_dataset::{Dataset, DatasetConfig, FrameChoice, Split};
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
    assert_eq!(train.notes, ["1 file passed over, not an image or not in a class: 1 .txt"]);
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
        &["bare/benign: a class without images", "(1 .txt)", "dataset.exclude = [\"benign\"]"],
    );
    assert_error(open(Split::Test, json!({ "train": "train" })), 2, &["dataset.test is not set"]);
    let named = json!({ "train": "train", "categories": ["malignant"] });
    assert_error(open(Split::Train, named), 3, &["train/benign", "is not a class"]);
}

#[test]
fn folders_of_the_system_are_no_classes_and_every_ending_of_jpeg_is_read() {
    let dir = tree(&[
        ("train/benign/1.jfif", ""),
        ("train/benign/2.JPE", ""),
        ("train/malignant/3.TIF", ""),
        ("train/malignant/Thumbs.db", ""),
        ("train/__MACOSX/benign/._1.jfif", ""),
        ("train/@eaDir/benign@SynoEAStream", ""),
        ("train/.ipynb_checkpoints/4.png", ""),
    ]);
    let train = open(dir.path(), Split::Train, json!({ "type": "image_folder", "train": "train" }))
        .unwrap();
    assert_eq!(train.category_names().collect::<Vec<_>>(), ["benign", "malignant"]);
    assert_eq!((train.records.len(), &train.notes[..]), (3, &[][..]));
}

#[test]
fn masks_among_images_are_refused_until_the_config_says_what_to_do() {
    let named = [
        ("train/benign/1.png", ""),
        ("train/benign/1_mask.png", ""),
        ("train/benign/1_mask_1.png", ""),
        ("train/malignant/2.png", ""),
        ("val/benign/3.png", ""),
        ("val/benign/3_mask.png", ""),
    ];
    let placed = [
        ("train/benign/images/1.png", ""),
        ("train/benign/mask/1_mask.png", ""),
        ("train/malignant/images/2.png", ""),
        ("val/benign/images/3.png", ""),
        ("val/benign/mask/3_mask.png", ""),
    ];
    let beside = [
        ("train/benign/1.png", ""),
        ("train/malignant/2.png", ""),
        ("train/masks/1.png", ""),
        ("val/benign/3.png", ""),
        ("val/masks/3.png", ""),
    ];
    for (files, pattern) in [(&named[..], "*_mask*"), (&placed, "*/mask"), (&beside, "masks")] {
        let dir = tree(files);
        let keys = |exclude: Option<&[&str]>| {
            let mut keys = json!({ "type": "image_folder", "train": "train", "val": "val" });
            if let Some(exclude) = exclude {
                keys["exclude"] = json!(exclude);
            }
            keys
        };
        let advice = format!("dataset.exclude = [\"{pattern}\"]");
        for split in [Split::Train, Split::Val] {
            let parts = [&*advice, "seem to be masks", "dataset.exclude = []"];
            assert_error(open(dir.path(), split, keys(None)), 3, &parts);
            let masks = files.iter().filter(|f| f.0.contains(split.name()) && f.0.contains("mask"));
            let all = files.iter().filter(|f| f.0.contains(split.name())).count();
            let without = open(dir.path(), split, keys(Some(&[pattern]))).unwrap();
            assert_eq!(without.category_names().collect::<Vec<_>>(), ["benign", "malignant"]);
            assert_eq!(without.records.len(), all - masks.count());
            assert!(without.notes[0].contains("left out: dataset.exclude"), "{:?}", without.notes);
            assert_eq!(open(dir.path(), split, keys(Some(&[]))).unwrap().records.len(), all);
        }
        let parts = ["\"*.gif\" matches no file", "their names look like \"benign/"];
        assert_error(open(dir.path(), Split::Train, keys(Some(&["*.gif"]))), 2, &parts);
    }
}

#[test]
fn a_class_folder_without_images_is_refused_until_it_is_left_out() {
    let dir = tree(&[("train/a/1.png", ""), ("train/b/2.png", ""), ("train/c/3.nii", "")]);
    std::fs::create_dir(dir.path().join("train/d")).unwrap();
    let open = |exclude: Value| {
        let keys = json!({ "type": "image_folder", "train": "train", "exclude": exclude });
        open(dir.path(), Split::Train, keys)
    };
    assert_error(open(json!(null)), 3, &["train/c: a class without images", "(1 .nii)", "[\"c\"]"]);
    assert_error(open(json!(["c"])), 3, &["train/d: a class without images", "empty", "[\"d\"]"]);
    let train = open(json!(["c", "d"]));
    assert_eq!(train.unwrap().category_names().collect::<Vec<_>>(), ["a", "b"]);
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
fn lists_of_other_tools_are_read_alike() {
    let dir = tree(&[("images/sub/a.png", ""), ("images/b.png", "")]);
    let utf_16 = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect()
    };
    let labels = |train: Dataset| -> Vec<(String, String)> {
        let names: Vec<String> = train.category_names().map(str::to_owned).collect();
        let of = |(id, labels): (String, Vec<u32>)| (id, names[labels[0] as usize].clone());
        listed(&train).into_iter().map(of).collect()
    };
    let keys = json!({ "type": "list_file", "train": "l.txt", "images": "images" });
    for text in [
        &b"sub/a.png\tleft lobe\nb.png\tright lobe\n"[..],
        b"sub\\a.png\tleft lobe\r\nb.png\tright lobe\r\n",
        b"\xef\xbb\xbf\"sub/a.png\" \"left lobe\"\n\"b.png\" \"right lobe\"",
        b"path,label\nsub/a.png,left lobe\nb.png,right lobe",
        b"left lobe\tsub/a.png\rright lobe\tb.png\r",
        &utf_16("sub/a.png;left lobe\r\nb.png;right lobe\r\n"),
    ] {
        std::fs::write(dir.path().join("l.txt"), text).unwrap();
        let train = open(dir.path(), Split::Train, keys.clone()).unwrap();
        let expected = [("sub/a.png", "left lobe"), ("b.png", "right lobe")];
        assert_eq!(labels(train), expected.map(|(a, b)| (a.to_owned(), b.to_owned())), "{text:?}");
    }
    // The three ways out that the message offers.
    let write = |text: &str| std::fs::write(dir.path().join("l.txt"), text).unwrap();
    write("sub/a.png left lobe\n");
    let parts =
        ["l.txt:1", "\"left lobe\" contains a blank", "tab", "quotes", "dataset.categories"];
    assert_error(open(dir.path(), Split::Train, keys.clone()), 3, &parts);
    let mut named = keys.clone();
    named["categories"] = json!(["left lobe"]);
    assert_eq!(open(dir.path(), Split::Train, named).unwrap().records.len(), 1);
    std::fs::write(dir.path().join("l.txt"), b"b.png gutartig\nsub/a.png b\xf6sartig\n").unwrap();
    assert_error(open(dir.path(), Split::Train, keys), 3, &["l.txt: line 2", "not UTF-8"]);
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
    assert_error(
        open("twice.txt", true, "none"),
        3,
        &["twice.txt:3", "already in line 1, labelled \"benign\" there and \"malignant\" here"],
    );
    assert_error(open("empty.txt", true, "none"), 3, &["empty.txt: no images"]);
    assert_error(open("dates.txt", false, "none"), 3, &["dates.txt", "name the classes"]);
    assert_error(open("absent.txt", true, "none"), 3, &["absent.txt"]);
    assert_error(open("good.txt", true, "some"), 3, &["images/case 1.png", "2 of 2"]);
}

#[test]
fn bare_images_have_their_relative_path_as_id() {
    let dir = tree(&[("b/2.png", ""), ("1.webp", ""), ("b/x.csv", "")]);
    let data = Dataset::from_images(dir.path(), FrameChoice::All).unwrap();
    assert_eq!(listed(&data), [("1.webp".into(), vec![]), ("b/2.png".into(), vec![])]);
    assert_eq!(data.notes, ["left out: there is one file with another ending, x.csv"]);
    let one = Dataset::from_images(&dir.path().join("b/2.png"), FrameChoice::All).unwrap();
    assert_eq!(listed(&one), [("2.png".into(), vec![])]);

    let none = Dataset::from_images(&dir.path().join("none"), FrameChoice::All);
    assert_error(none, 3, &["no such file or folder"]);
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let empty = Dataset::from_images(&dir.path().join("empty"), FrameChoice::All);
    assert_error(empty, 3, &["empty: no images"]);
}
