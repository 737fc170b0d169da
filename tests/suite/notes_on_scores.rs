//! Scores say what they leave out, and when predictions tell nothing: on the console, as JSON and on the
//! page of the run.

use std::fs;

use serde_json::{Value, json};
use sonotune_metrics::table;

use crate::support::{CLASSIFICATION, Copied, MASK2FORMER, assert_success, sonotune, tiny_run};

/// A run on the phantoms as `change` leaves them, then scored on its validation split.
struct Scored {
    console: String,
    outcome: Value,
    eval: String,
    record: Value,
    page: String,
}

fn scored(task: &str, more: &[&str], change: impl Fn(&Copied)) -> Scored {
    let folder = tempfile::tempdir().unwrap();
    let data = Copied::to(&folder.path().join("data"));
    change(&data);
    let output = tiny_run(folder.path(), task, &[&[data.root().as_str(), "--json"], more].concat());
    assert_success(&output);
    let run = folder.path().join("run");
    let eval = |json: &[&str]| {
        let args = ["eval", "--run", run.to_str().unwrap(), "--split", "val"];
        let output = sonotune(&[&args, json].concat());
        assert_success(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    Scored {
        console: String::from_utf8(output.stderr).unwrap(),
        outcome: serde_json::from_slice(&output.stdout).unwrap(),
        eval: eval(&[]),
        record: serde_json::from_str(&eval(&["--json"])).unwrap(),
        page: fs::read_to_string(run.join("report.html")).unwrap(),
    }
}

impl Scored {
    #[track_caller]
    fn assert_noted(&self, note: &str) {
        let shown = [
            &self.console,
            &self.outcome["summary"]["notes"].to_string().replace("\\\"", "\""),
            &self.eval,
            &self.record["report"]["notes"].to_string().replace("\\\"", "\""),
            &self.page.replace("&quot;", "\""),
        ];
        for text in shown {
            assert!(text.contains(note), "no `{note}` in {text}");
        }
    }
}

#[test]
fn a_category_that_the_split_lacks_has_no_figures() {
    let without_cysts = |data: &Copied| {
        data.edit("val", |file| {
            let cyst = file["categories"][0]["id"].clone();
            assert_eq!(file["categories"][0]["name"], "cyst");
            let objects = file["annotations"].as_array().unwrap();
            let of_cysts = objects.iter().filter(|object| object["category_id"] == cyst);
            let images: Vec<_> = of_cysts.map(|object| object["image_id"].clone()).collect();
            let keep = |id: &Value| !images.contains(id);
            file["images"].as_array_mut().unwrap().retain(|image| keep(&image["id"]));
            file["annotations"].as_array_mut().unwrap().retain(|o| keep(&o["image_id"]));
        });
    };
    let more = ["train.max_steps=2", "evaluation.every_steps=1"];
    let metric = [&more[..], &["evaluation.best_metric=per_class/cyst/recall"]].concat();
    let unpicked = scored(CLASSIFICATION, &metric, without_cysts);
    assert!(unpicked.outcome["summary"]["best"].is_null());
    let note = "no checkpoint is the best, and `sonotune eval` and `predict` use the last: \
                `evaluation.best_metric` per_class/cyst/recall was undefined at every evaluation: dataset.val has";
    let summary = unpicked.outcome["summary"]["notes"].to_string();
    for text in [&unpicked.console, &summary, &unpicked.page.replace("&#96;", "`")] {
        assert!(text.contains(note), "no `{note}` in {text}");
    }
    assert!(unpicked.console.contains("Until it is defined, no checkpoint is the best"));
    assert!(unpicked.eval.contains("last.safetensors"), "{}", unpicked.eval);
    let classified = scored(CLASSIFICATION, &more[..1], without_cysts);
    classified
        .assert_noted("no image of \"cyst\": the means of precision, recall and F1 go over all");
    let row = classified.eval.lines().find(|line| line.starts_with("cyst ")).unwrap();
    assert!(row.contains("n/a") && row.ends_with(" 0"), "{row}");
    let metrics = classified.record["report"]["metrics"].as_array().unwrap();
    let recall = metrics.iter().find(|m| m["name"] == "per_class/cyst/recall").unwrap();
    assert!(recall["value"].is_null(), "{recall}");
    let segmented = scored(MASK2FORMER, &more, without_cysts);
    segmented.assert_noted("no object of \"cyst\": the means go over the other");
}

#[test]
fn predictions_that_tell_nothing_are_said_to() {
    // A model that has learnt nothing: the head starts at random and stays so.
    let still = ["train.max_steps=1", "optimizer.lr=1e-12"];
    let constant = scored(CLASSIFICATION, &still, |_| ());
    constant.assert_noted("images is predicted as \"");
    constant.assert_noted("is no higher than that of answering \"");
    let found = scored(MASK2FORMER, &still, |_| ());
    found.assert_noted("no object is found with a score of at least 0.5");
    found.assert_noted("is found: no prediction overlaps one by half");
}

#[test]
fn notes_follow_the_tables() {
    let report = sonotune_metrics::Report {
        metrics: vec![sonotune_metrics::Metric::highest("f1", 0.5)],
        notes: vec!["a note".to_owned()],
        ..Default::default()
    };
    assert_eq!(table::report(&report), "f1  0.5000\nnote: a note\n");
    // Records of earlier versions have none.
    let read: sonotune_metrics::Report =
        serde_json::from_value(json!({ "metrics": [], "tables": [] })).unwrap();
    assert!(read.notes.is_empty());
}
