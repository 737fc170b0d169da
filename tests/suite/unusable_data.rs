//! Data that would fail an evaluation, or with nothing to learn from, is refused before the first step;
//! data that changed is noticed on resuming.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::support::{
    CLASSIFICATION, Copied, MASK2FORMER, PROMPTS, assert_fails, assert_success, sonotune, tiny_run,
};

const TEST: &str = "dataset.test=annotations/test.json";

/// Runs `train`, its dry run and `config validate` on changed data: all three refuse it, before anything
/// is written, and say why in the same words.
#[track_caller]
fn assert_refused(task: &str, more: &[&str], damage: impl Fn(&Copied), expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let data = Copied::to(&folder.path().join("data"));
    damage(&data);
    let root = data.root();
    let changes = [&[root.as_str()], more].concat();
    assert_fails(&tiny_run(folder.path(), task, &changes), 3, expected);
    let config = folder.path().join("config.toml").display().to_string();
    let dry = sonotune(&[&["train", &config, "--dry-run"], &changes[..]].concat());
    assert_fails(&dry, 3, expected);
    assert!(!folder.path().join("run").exists());
    let set = changes.iter().flat_map(|change| ["--set", change]);
    let validated =
        sonotune(&["config", "validate", &config].into_iter().chain(set).collect::<Vec<_>>());
    assert_fails(&validated, 2, &["1 of 1 configs invalid"]);
    let text = String::from_utf8_lossy(&validated.stdout);
    assert!(expected.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn data_that_would_fail_an_evaluation_is_refused_before_the_first_step() {
    let last = |data: &Copied, split: &str| {
        let count = data.annotations(split)["images"].as_array().unwrap().len();
        (data.image(split, count - 1), format!("{split}.json"))
    };
    type Damage<'a> = (&'a str, &'a dyn Fn(&Copied), &'a [&'a str]);
    let damages: [Damage; 9] = [
        (PROMPTS, &|d| fs::remove_file(last(d, "val").0).unwrap(), &["val.json", "(1 of"]),
        (PROMPTS, &|d| fs::remove_file(last(d, "train").0).unwrap(), &["train.json", "(1 of"]),
        (
            PROMPTS,
            &|d| fs::remove_file(last(d, "test").0).unwrap(),
            &["dataset.test", "`~dataset.test`", "(1 of"],
        ),
        (
            CLASSIFICATION,
            &|d| fs::remove_file(d.file("test")).unwrap(),
            &["dataset.test", "`~dataset.test`", "test.json"],
        ),
        (
            PROMPTS,
            &|d| {
                let (path, _) = last(d, "val");
                let whole = fs::read(&path).unwrap();
                fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            },
            &["val.json: 1 of 6 images cannot be used", "truncated"],
        ),
        (
            CLASSIFICATION,
            &|d| fs::write(last(d, "val").0, "<html>").unwrap(),
            &["val.json: 1 of 6 images cannot be used", "not an image"],
        ),
        (
            CLASSIFICATION,
            &|d| image::GrayImage::new(64, 65).save(last(d, "val").0).unwrap(),
            &["expected 64x64 (height x width, from the annotations), got 65x64"],
        ),
        (
            CLASSIFICATION,
            &|d| {
                d.edit("val", |file| {
                    let mut other = file["annotations"][0].clone();
                    other["id"] = json!(99_999);
                    other["category_id"] = match other["category_id"].as_i64() {
                        Some(1) => json!(2),
                        _ => json!(1),
                    };
                    file["annotations"].as_array_mut().unwrap().push(other);
                });
            },
            &["expected exactly one category, found"],
        ),
        (
            PROMPTS,
            &|d| d.edit("val", |file| file["categories"][0]["name"] = json!("other")),
            &["val.json", "other"],
        ),
    ];
    for (task, damage, expected) in damages {
        assert_refused(task, &[TEST], damage, expected);
    }
}

#[test]
fn a_split_without_anything_to_learn_or_to_score_is_refused() {
    let none = |split: &'static str| {
        move |d: &Copied| d.edit(split, |file| file["annotations"] = json!([]))
    };
    let crowds = |split: &'static str| {
        move |d: &Copied| d.edit_objects(split, |object| object["iscrowd"] = json!(1))
    };
    let boxes = |split: &'static str| {
        move |d: &Copied| d.edit_objects(split, |object| object["segmentation"] = json!([]))
    };
    for task in [PROMPTS, MASK2FORMER] {
        let learn = [
            "train.json: no object in any of its 21 images",
            "nothing to learn",
            "train.allow_no_objects = true",
        ];
        assert_refused(task, &[], none("train"), &learn);
        let score =
            ["val.json: no object in any of its 6 images", "nothing to score", "`~dataset.val`"];
        assert_refused(task, &["train.allow_no_objects=true"], none("val"), &score);
        assert_refused(
            task,
            &[],
            crowds("train"),
            &["train.json: no object", "not counting", "crowd"],
        );
        for split in ["train", "val"] {
            let named = format!("{split}.json: no mask for any of its");
            let expected = [named.as_str(), "train.allow_boxes_as_masks = true"];
            assert_refused(task, &[], boxes(split), &expected);
        }
    }
}

#[test]
fn splits_that_training_can_do_without_are_left_out_as_the_messages_say() {
    let folder = tempfile::tempdir().unwrap();
    let data = Copied::to(&folder.path().join("data"));
    fs::remove_file(data.image("test", 0)).unwrap();
    data.edit("val", |file| file["annotations"] = json!([]));
    let root = data.root();
    let steps = "train.max_steps=1";
    let run = |more: &[&str]| {
        let common = [root.as_str(), TEST, steps];
        tiny_run(folder.path(), PROMPTS, &[&common[..], more].concat())
    };
    assert_fails(&run(&[]), 3, &["val.json", "`~dataset.val`"]);
    // Removals are applied first, so the test split is not named at all.
    let left_out = [root.as_str(), "~dataset.val", steps];
    assert_success(&tiny_run(folder.path(), PROMPTS, &left_out));
    // A resumed run warns about a test split that it does not read.
    let run = folder.path().join("run");
    let resume = ["train", "--resume", run.to_str().unwrap(), TEST, "train.max_steps=2"];
    assert_success(&sonotune(&resume));
    let log = fs::read_to_string(run.join("train.log")).unwrap();
    assert!(log.contains("warning: dataset.test (training can do without"), "{log}");
}

#[test]
fn a_metric_of_a_category_that_does_not_exist_is_refused() {
    let metric = ["evaluation.best_metric=per_class/bening/f1"];
    let folder = tempfile::tempdir().unwrap();
    let expected = ["per_class/bening/f1", "no such category; the categories are cyst, benign"];
    assert_fails(&tiny_run(folder.path(), CLASSIFICATION, &metric), 2, &expected);
    assert!(!folder.path().join("run").exists());
    let right = ["evaluation.best_metric=per_class/benign/f1", "train.max_steps=1"];
    assert_success(&tiny_run(folder.path(), CLASSIFICATION, &right));
}

/// A run on changed data that is allowed; the figures that it ends with, and what it printed.
fn allowed(task: &str, more: &[&str], damage: impl Fn(&Copied)) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let data = Copied::to(&folder.path().join("data"));
    damage(&data);
    let root = data.root();
    let output = tiny_run(folder.path(), task, &[&[root.as_str(), "--json"], more].concat());
    assert_success(&output);
    let printed = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    (serde_json::from_slice(&output.stdout).unwrap(), printed(&output))
}

fn metric_names(outcome: &Value) -> Vec<String> {
    let metrics = outcome["summary"]["metrics"].as_array().unwrap();
    metrics.iter().map(|metric| metric["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn boxes_taken_for_masks_are_not_scored_as_masks() {
    let boxes = |d: &Copied| {
        for split in ["train", "val"] {
            d.edit_objects(split, |object| object["segmentation"] = Value::Null);
        }
    };
    for task in [PROMPTS, MASK2FORMER] {
        let (outcome, text) = allowed(task, &["train.allow_boxes_as_masks=true"], boxes);
        let names = metric_names(&outcome);
        assert!(names.iter().any(|name| name.ends_with("bbox_mAP")), "{names:?}");
        let of_masks = ["segm", "mIoU", "dice", "hd95"];
        assert!(!names.iter().any(|n| of_masks.iter().any(|part| n.contains(part))), "{names:?}");
        assert!(text.contains("each box counts as a mask"), "{text}");
        let notes = outcome["summary"]["notes"].to_string();
        assert!(notes.contains("masks are not scored"), "{notes}");
    }
    // A score of masks cannot pick the best.
    let folder = tempfile::tempdir().unwrap();
    let data = Copied::to(&folder.path().join("data"));
    boxes(&data);
    let metric = ["evaluation.best_metric=box/mIoU", "train.allow_boxes_as_masks=true"];
    let refused =
        tiny_run(folder.path(), PROMPTS, &[&[data.root().as_str()], &metric[..]].concat());
    assert_fails(&refused, 2, &["box/mIoU", "it reports center_point/bbox_mAP"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn some_boxes_among_masks_are_counted_in_a_note() {
    let some = |d: &Copied| {
        for split in ["train", "val"] {
            d.edit(split, |file| file["annotations"][0]["segmentation"] = json!([]));
        }
    };
    let (outcome, text) = allowed(PROMPTS, &[], some);
    assert!(text.contains("train.json: 1 of its"), "{text}");
    assert!(
        outcome["summary"]["notes"].to_string().contains("have no mask: the box counts as one")
    );
    let outlined = |d: &Copied| {
        d.edit_objects("train", |object| {
            let side = |i: usize| object["bbox"][i].as_f64().unwrap();
            let (x, y, right, bottom) = (side(0), side(1), side(0) + side(2), side(1) + side(3));
            object["segmentation"] = json!([[x, y, right, y, right, bottom, x, bottom]]);
        });
    };
    let (_, text) = allowed(PROMPTS, &[], outlined);
    assert!(text.contains("were boxes exported as masks?"), "{text}");
}

#[test]
fn training_without_objects_is_possible_if_asked_for() {
    let none = |d: &Copied| d.edit("train", |file| file["annotations"] = json!([]));
    let (_, text) = allowed(MASK2FORMER, &["train.allow_no_objects=true"], none);
    assert!(text.contains("no object in any of its 21 images (train.allow_no_objects)"), "{text}");
}

#[test]
fn data_that_changed_since_a_run_began_is_noticed_on_resuming() {
    let folder = tempfile::tempdir().unwrap();
    let data = Copied::to(&folder.path().join("data"));
    let root = data.root();
    assert_success(&tiny_run(folder.path(), PROMPTS, &[root.as_str(), "train.max_steps=3"]));
    let run = folder.path().join("run").display().to_string();
    let resume = |more: &[&str]| {
        sonotune(&[&["train", "--resume", run.as_str(), "train.max_steps=4"], more].concat())
    };
    let whole = fs::read(data.file("train")).unwrap();
    data.edit_objects("train", |object| object["category_id"] = json!(1));
    let expected = ["the annotations of the train split", "train.json", "`--changed-data`"];
    assert_fails(&resume(&[]), 3, &expected);
    fs::write(data.file("train"), whole).unwrap();

    let image = data.image("train", 3);
    let old = fs::read(&image).unwrap();
    image::GrayImage::new(64, 64).save(&image).unwrap();
    assert_fails(&resume(&[]), 3, &["1 image file of the train split", "`--changed-data`"]);
    let log = || fs::read_to_string(folder.path().join("run/train.log")).unwrap();
    assert!(!log().contains("has changed"));
    // Written again as it was: as good as unchanged.
    fs::write(&image, old).unwrap();
    let time = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(&image).unwrap().set_modified(time).unwrap();
    assert_success(&resume(&[]));
    assert!(log().contains("train split: 1 image file written since the run began"), "{}", log());

    image::GrayImage::new(64, 64).save(&image).unwrap();
    let more = ["--changed-data", "train.max_steps=5"];
    assert_success(&resume(&more));
    assert!(log().contains("warning: the data has changed since the run began: 1 image file"));
    // What is there now counts from then on; a run of an earlier version has no record.
    assert_success(&resume(&["train.max_steps=6"]));
    fs::remove_file(folder.path().join("run/data.json")).unwrap();
    data.edit_objects("val", |object| object["category_id"] = json!(1));
    assert_success(&resume(&["train.max_steps=7"]));
}
