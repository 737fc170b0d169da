//! `sonotune compare`: means over seeds, and what it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};

use crate::support::{assert_fails, assert_success, json as json_of, sonotune, stdout, tiny_run};

/// A scored run of a config with these lines; `change` modifies its record.
fn run(folder: &Path, name: &str, config: &str, f1: f64, change: Value) -> PathBuf {
    let run = folder.join(name);
    fs::create_dir_all(&run).unwrap();
    let text = format!("run_dir = \"{}\"\n{config}\n", run.display());
    fs::write(run.join("config.toml"), text).unwrap();
    let mut record = json!({
        "checkpoint": "best.safetensors",
        "step": 100,
        "split": "test",
        "dataset": "data/test.json",
        "dataset_sha256": "ab12",
        "num_images": 10,
        "num_objects": 20,
        "dataset_notes": [],
        "categories": ["cyst", "mass"],
        "report": {
            "metrics": [
                { "name": "f1", "value": f1, "best_is": "highest" },
                { "name": "hd95", "value": 10.0 * f1, "best_is": "lowest" },
                { "name": "per_class/cyst/f1", "value": f1 / 2.0, "best_is": "highest" },
            ],
            "tables": [],
            "conditions": [["max_dets", "100"]],
        },
    });
    for (pointer, value) in change.as_object().unwrap() {
        match record.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => {
                drop(record.as_object_mut().unwrap().insert(pointer[1..].to_owned(), value.clone()))
            }
        }
    }
    fs::write(run.join("eval-test.json"), record.to_string()).unwrap();
    run
}

fn config(seed: u64, lr: &str) -> String {
    format!("seed = {seed}\n[optimizer]\nlr = {lr}\n[loader]\nnum_workers = {seed}")
}

fn compare(runs: &[&PathBuf], more: &[&str]) -> Output {
    let runs: Vec<String> = runs.iter().map(|run| run.display().to_string()).collect();
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    sonotune(&[&["compare"], &runs[..], more].concat())
}

#[test]
fn runs_of_several_seeds_become_a_mean_and_the_best_is_marked_by_direction() {
    let folder = tempfile::tempdir().unwrap();
    let a = [(1, 0.5), (2, 0.7), (3, 0.9)].map(|(seed, f1)| {
        run(folder.path(), &format!("a{seed}"), &config(seed, "1e-3"), f1, json!({}))
    });
    let no_hd95 = json!({ "/report/metrics": [{ "name": "f1", "value": 0.6, "best_is": "highest" }, { "name": "auroc", "value": null, "best_is": "highest" }] });
    let b = run(folder.path(), "b", &config(1, "1e-4"), 0.6, no_hd95);
    let runs = [&a[0], &b, &a[1], &a[2]];
    let text = stdout(&compare(&runs, &[]));
    let line = |start: &str| text.lines().find(|l| l.starts_with(start)).unwrap().to_owned();
    assert!(line("lr 0.001").contains("3  0.7000 ± 0.2000 *  7.0000 ± 2.0000"), "{text}");
    // One run has no deviation; a metric that it lacks is a dash, an undefined one is reported.
    let words: Vec<String> = line("lr 0.0001").split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["lr", "0.0001", "1", "0.6000", "–", "n/a"], "{text}");
    assert!(text.contains("test split: 10 images, 20 objects") && text.contains("ab12"));

    let json = json_of(&compare(&runs, &["--json", "--metric", "per_class/*"]));
    assert_eq!(json["columns"][0]["metric"], "per_class/cyst/f1");
    assert_eq!(json["columns"][0]["best_is"], "highest");
    assert_eq!(json["groups"][0]["runs"].as_array().unwrap().len(), 3);
    let mean = json["groups"][0]["cells"][0]["mean"].as_f64().unwrap();
    assert!((mean - 0.35).abs() < 1e-12);
    assert!(json["groups"][1]["cells"][0].is_null());

    let out = folder.path().join("table.tex");
    let place = out.display().to_string();
    stdout(&compare(&runs, &["--format", "latex", "--runs", "--out", &place]));
    let latex = fs::read_to_string(&out).unwrap();
    assert!(
        latex.contains("\\textbf{0.7000 $\\pm$ 0.2000}") && latex.contains("\\bottomrule"),
        "{latex}"
    );
    let csv = stdout(&compare(&runs, &["--format", "csv", "--runs"]));
    assert_eq!(csv.matches("\r\n").count(), 5);
    let unknown = compare(&runs, &["--metric", "f2"]);
    assert_fails(&unknown, 2, &["--metric f2", "per_class/cyst/f1"]);
    assert_fails(&compare(&[&a[0], &a[0]], &[]), 2, &["given twice"]);
}

#[test]
fn scores_that_were_measured_differently_are_refused_with_who_differs_in_what() {
    let folder = tempfile::tempdir().unwrap();
    let a = run(folder.path(), "a", &config(1, "1e-3"), 0.5, json!({}));
    let b = run(folder.path(), "b", &config(2, "1e-3"), 0.5, json!({}));
    for (name, change, said) in [
        ("hash", json!({ "/dataset_sha256": "cd34" }), ["annotations (SHA-256) differ", "cd34: "]),
        ("no-hash", json!({ "/dataset_sha256": null }), ["annotations (SHA-256) differ", "none: "]),
        ("images", json!({ "/num_images": 9 }), ["numbers of images differ", "9: "]),
        ("objects", json!({ "/num_objects": 9 }), ["numbers of objects differ", "9: "]),
        (
            "notes",
            json!({ "/dataset_notes": ["filtered"] }),
            ["left out or changed differ", "filtered: "],
        ),
        (
            "skipped",
            json!({ "/skipped": [
                { "image": "a.png", "image_id": "7", "position": 0, "step": 1, "reason": "cut" }
            ] }),
            ["images that could not be used differ", "7: "],
        ),
        (
            "categories",
            json!({ "/categories": ["mass", "cyst"] }),
            ["categories differ", "mass, cyst: "],
        ),
        ("old", json!({ "/categories": [] }), ["categories differ", "none: "]),
        (
            "protocol",
            json!({ "/report/conditions": [["max_dets", "10"]] }),
            ["conditions `max_dets` differ", "10: "],
        ),
        (
            "more",
            json!({ "/report/conditions": [["max_dets", "100"], ["seed", "1"]] }),
            ["conditions `seed` differ", "1: "],
        ),
    ] {
        let other = run(folder.path(), name, &config(3, "1e-3"), 0.5, change);
        let output = compare(&[&a, &other, &b], &[]);
        let who = format!("{}{}", said[1], other.display());
        let both = format!("{}, {}", a.display(), b.display());
        assert_fails(
            &output,
            3,
            &[said[0], &who, &both, "sonotune eval --run RUN"]
                [..if name == "categories" || name == "old" { 3 } else { 4 }],
        );
        assert!(output.stdout.is_empty());
    }
    assert!(stdout(&compare(&[&a, &b], &[])).contains("0.5000 ± 0.0000"));
}

#[test]
fn a_missing_or_foreign_record_says_how_to_make_it() {
    let folder = tempfile::tempdir().unwrap();
    let a = run(folder.path(), "a", &config(1, "1e-3"), 0.5, json!({}));
    let command = format!("sonotune eval --run {} --split val", a.display());
    assert_fails(&compare(&[&a], &["--split", "val"]), 3, &["eval-val.json", &command]);
    fs::copy(a.join("eval-test.json"), a.join("eval-val.json")).unwrap();
    assert_fails(&compare(&[&a], &["--split", "val"]), 3, &["for the test split", &command]);
    fs::write(a.join("eval-val.json"), "{}").unwrap();
    assert_fails(&compare(&[&a], &["--split", "val"]), 3, &["not a record of scores", &command]);
    let nothing = folder.path().join("nothing");
    assert_fails(&compare(&[&a, &nothing], &[]), 2, &["nothing is not a run folder"]);
    assert_fails(&sonotune(&["compare"]), 2, &["RUN_DIR"]);
}

#[test]
fn what_a_reader_should_know_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let a = run(folder.path(), "a", &config(1, "1e-3"), 0.5, json!({}));
    let last = json!({ "/checkpoint": "last.safetensors" });
    let again = run(
        folder.path(),
        "again",
        &format!("{}\n[train]\nmax_steps = 900", config(1, "1e-3")),
        0.5,
        last,
    );
    let text = stdout(&compare(&[&a, &again], &[]));
    assert!(text.contains("not all scores are from the same kind of checkpoint"), "{text}");
    assert!(text.contains("after step 100 of 900"), "{text}");
    let same = run(folder.path(), "same", &config(1, "1e-3"), 0.5, json!({}));
    assert!(stdout(&compare(&[&a, &same], &[])).contains("have the same seed 1"));
}

#[test]
fn scores_of_real_runs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<PathBuf> = [1, 2]
        .iter()
        .map(|seed| {
            let path = folder.path().join(format!("run-seed{seed}"));
            let (place, seed) = (format!("run_dir={}", path.display()), format!("seed={seed}"));
            let more = [&place, &seed, "dataset.image_label=from_objects", "train.max_steps=2"];
            assert_success(&tiny_run(folder.path(), "type = \"classification\"", &more));
            let place = path.display().to_string();
            assert_success(&sonotune(&["eval", "--run", &place, "--split", "val"]));
            path
        })
        .collect();
    let text = stdout(&compare(&[&runs[0], &runs[1]], &["--split", "val"]));
    let row = text.lines().nth(1).unwrap();
    assert!(row.starts_with("run ") && row.contains(" 2 ") && row.contains('±'), "{text}");
    assert!(text.contains("accuracy") && !text.contains("note:"), "{text}");
}
