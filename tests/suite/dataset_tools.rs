//! The commands that work on COCO files, as a user runs them.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde_json::{self, Value, json};
use sonotune_dataset::{Dataset, DatasetConfig, Split};

use crate::support::{self, assert_contains, assert_fails, phantoms, read_json, sonotune, stdout};

/// A copy of the phantoms' training file, so that each test has its own folder.
fn set(folder: &Path, name: &str) -> PathBuf {
    let from = phantoms().join("phantoms");
    let to = folder.join(name);
    std::fs::create_dir_all(to.join("annotations")).unwrap();
    std::fs::create_dir_all(to.join("images")).unwrap();
    let file = read_json(&from.join("annotations/train.json"));
    for image in file["images"].as_array().unwrap() {
        let name = image["file_name"].as_str().unwrap();
        let target = to.join("images").join(name);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(from.join(name), target).unwrap();
    }
    let path = to.join("annotations/all.json");
    std::fs::write(&path, file.to_string()).unwrap();
    path
}

fn run(args: &[&str]) -> Value {
    support::json(&sonotune(args))
}

fn names(file: &Value) -> Vec<String> {
    let name = |image: &Value| image["file_name"].as_str().unwrap().to_owned();
    file["images"].as_array().unwrap().iter().map(name).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Opens it as a run does.
fn open(table: Value) -> Dataset {
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
    config.open(Split::Train).unwrap()
}

#[test]
fn a_split_leaves_no_image_out_and_none_twice_and_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let all = set(folder.path(), "A");
    let args = ["data", "split", text(&all), "--val", "0.25", "--test", "0.2", "--json"];
    let report = run(&args);
    let parts = report["report"]["parts"].as_array().unwrap();
    let found: Vec<_> = parts.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(found, ["train", "val", "test"]);
    let at = |name: &str| all.with_file_name(name);
    let split: Vec<String> = ["train.json", "val.json", "test.json"]
        .iter()
        .flat_map(|name| names(&read_json(&at(name))))
        .collect();
    let expected = names(&read_json(&all));
    assert_eq!(split.len(), expected.len());
    assert_eq!(HashSet::<_>::from_iter(&split), HashSet::from_iter(&expected));
    assert_fails(&sonotune(&args), 2, &["train.json exists: pass --overwrite to replace it"]);
    let before = std::fs::read(at("train.json")).unwrap();
    run(&[&args[..], &["--overwrite"]].concat());
    assert_eq!(std::fs::read(at("train.json")).unwrap(), before);
    let train = at("train.json");
    let own = sonotune(&["data", "split", text(&train), "--overwrite"]);
    assert_fails(&own, 2, &["train.json is an input: choose another output"]);
    let folds = ["data", "split", text(&all), "--folds", "3", "--json"];
    assert_eq!(run(&folds)["report"]["files"].as_array().unwrap().len(), 6);
    assert!(at("fold2/val.json").exists());
    let table = json!({ "type": "coco", "root": folder.path().join("A"), "images": "images",
                        "train": "annotations/train.json" });
    assert_eq!(open(table).records.len(), names(&read_json(&at("train.json"))).len());
}

#[test]
fn merged_agnostic_and_filtered_files_open_as_a_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (set(folder.path(), "A"), set(folder.path(), "B"));
    let at = |name: &str| folder.path().join(name);
    let (merged, agnostic, filtered) = (at("merged.json"), at("agnostic.json"), at("b.json"));
    run(&["data", "merge", text(&a), text(&b), "--out", text(&merged), "--json"]);
    run(&["data", "agnostic", text(&merged), "--out", text(&agnostic), "--json"]);
    let out = text(&filtered);
    let report = run(&["data", "filter", text(&agnostic), "--out", out, "--only", "B", "--json"]);
    let count = names(&read_json(&b)).len();
    assert_eq!(report["report"]["images"], json!(count));
    let table = json!({ "type": "coco", "root": folder.path(), "train": "b.json" });
    let dataset = open(table);
    assert_eq!((dataset.records.len(), dataset.categories.len()), (count, 1));
    assert!(dataset.records.iter().all(|r| r.path.starts_with(at("B/images"))));
    let elsewhere = tempfile::tempdir().unwrap();
    let out = elsewhere.path().join("m.json");
    let output = sonotune(&["data", "merge", text(&a), "--out", text(&out)]);
    assert_fails(&output, 3, &["all.json", "not below", "--root"]);
    let output = sonotune(&["data", "agnostic", text(&a), "--out", text(&a), "--overwrite"]);
    assert_fails(&output, 2, &["all.json is an input"]);
    let out = text(&filtered);
    let output =
        sonotune(&["data", "filter", text(&merged), "--out", out, "--overwrite", "--only", "C"]);
    assert_fails(&output, 3, &["merged.json", "--only \"C\" matches no image", "\"A\", \"B\""]);
}

#[test]
fn an_exported_list_is_what_the_list_dataset_reads() {
    let folder = tempfile::tempdir().unwrap();
    let all = set(folder.path(), "A");
    let list = all.with_file_name("train.txt");
    let args = ["data", "export", text(&all), "--out", text(&list), "--mixed", "largest"];
    let report = run(&[&args[..], &["--prefix", "images/", "--json"]].concat());
    let classes: Vec<_> = report["report"]["classes"].as_array().unwrap().iter().collect();
    let categories: Vec<_> = classes.iter().map(|c| c[0].clone()).collect();
    let table = json!({ "type": "list_file", "root": folder.path().join("A"),
        "train": "annotations/train.txt", "categories": categories });
    let dataset = open(table);
    assert_eq!(json!(dataset.records.len()), report["report"]["images"]);
    for (class, counted) in classes.iter().enumerate() {
        let labelled = dataset.records.iter().filter(|r| r.image_labels == [class as u32]).count();
        assert_eq!(json!(labelled), counted[1]);
    }
    assert!(dataset.records.iter().all(|r| r.path.is_file()));
}

#[test]
fn a_mirrored_image_of_another_dataset_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let all = set(folder.path(), "A");
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let name = names(&read_json(&all)).swap_remove(0);
    let image = image::open(folder.path().join("A/images").join(&name)).unwrap();
    image.fliph().save(other.join("copy.png")).unwrap();
    let report = run(&["data", "duplicates", text(&all), text(&other), "--across", "--json"]);
    let groups = report["report"]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{report}");
    assert_eq!(groups[0]["datasets"], json!(["A", "other"]));
    let members = groups[0]["members"].as_array().unwrap();
    let has = |end: &str| members.iter().any(|m| m["path"].as_str().unwrap().ends_with(end));
    assert!(has("copy.png") && has(&name), "{report}");
    let output = sonotune(&["data", "duplicates", text(&all), text(&other)]);
    assert_contains(&stdout(&output), &["mirrored"]);
}
