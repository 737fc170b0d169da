//! `report.html`: self-contained, complete, escaped, and legible on a phone.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sonotune_metrics::{Confusion, Metric, Report, Table};
use sonotune_report as report;

use crate::{
    browser::faults_on_a_phone,
    support::{
        MASK2FORMER, PROMPTS, assert_contains, assert_fails, assert_success, json as json_of,
        read_json, resume, sonotune, tiny_run,
    },
};

const SECTIONS: [&str; 9] = [
    "overview",
    "curves",
    "time",
    "data",
    "weights",
    "environment",
    "warnings",
    "config",
    "commands",
];

fn page(run: &Path) -> String {
    fs::read_to_string(run.join("report.html")).unwrap()
}

/// Structure without a browser: tags in pairs, every section, no external resources.
#[track_caller]
fn assert_whole(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>"));
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag without end");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        if tag.starts_with('!') || ["meta", "img", "br"].contains(&name) {
        } else if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            open.push(name);
        }
        if tag == "style" {
            rest = &rest[rest.find("</style>").unwrap()..];
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    for id in SECTIONS {
        assert_eq!(html.matches(&format!("<section id=\"{id}\"")).count(), 1, "{id}");
    }
    for foreign in ["<script", "<link", "<iframe", "@import", "url(", "href=\"", "srcset"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    let sources = html.matches("src=\"").count();
    assert_eq!(html.matches("src=\"data:image/jpeg;base64,").count(), sources);
    assert!(html.contains("default-src 'none'") || html.contains("default-src &#39;none&#39;"));
}

#[track_caller]
fn assert_legible(html: &str) {
    if let Some(faults) = faults_on_a_phone(html) {
        assert_eq!(faults, Vec::<String>::new());
    }
}

#[test]
fn a_classification_run_shows_curves_tables_and_pictures_and_takes_scores_in_later() {
    let folder = tempfile::tempdir().unwrap();
    let labels = "dataset.image_label=from_objects";
    assert_success(&tiny_run(folder.path(), "type = \"classification\"", &[labels]));
    let run = folder.path().join("run");
    let html = page(&run);
    assert_whole(&html);
    assert_legible(&html);
    assert_eq!(html.matches("Split val, evaluated while training").count(), 1);
    let said =
        ["finished", "Training loss", "Confusion matrix", "Per category", "sonotune eval --run"];
    assert_contains(&html, &said);
    // Each of the few images of the split is shown once, with its name, score and both labels.
    let shown = read_json(&run.join("report/training-val.json"));
    let num_images = shown["counts"]["num_images"].as_u64().unwrap().min(12) as usize;
    assert_eq!(html.matches("<img").count(), num_images);
    assert_eq!(html.matches("score of the true category 0.").count(), num_images);
    assert_eq!(html.matches("<span>truth: ").count(), num_images);
    let scores: Vec<f64> = ["worst", "best"]
        .iter()
        .flat_map(|end| shown["ranked"][end].as_array().unwrap().iter())
        .map(|picture| picture["score"].as_f64().unwrap())
        .collect();
    assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));

    let name = run.display().to_string();
    assert_success(&sonotune(&["eval", "--run", &name, "--split", "val"]));
    assert!(page(&run).contains("Split val, by sonotune eval"));
    assert_eq!(page(&run).matches("<img").count(), 2 * num_images);
    // Scores without their pictures, and a page that was lost.
    fs::remove_file(run.join("report.html")).unwrap();
    fs::rename(run.join("eval-val.json"), run.join("eval-test.json")).unwrap();
    let mut record = read_json(&run.join("eval-test.json"));
    record["split"] = "test".into();
    fs::write(run.join("eval-test.json"), record.to_string()).unwrap();
    let written = json_of(&sonotune(&["report", "--run", &name, "--json"]));
    let html = page(&run);
    assert_eq!(written["bytes"].as_u64().unwrap() as usize, html.len());
    assert!(html.contains("Split test, by sonotune eval"));
    assert_eq!(html.matches("<img").count(), num_images);
    assert_whole(&html);
}

#[test]
fn runs_of_the_other_tasks_rank_their_images_too() {
    for (task, score) in [(PROMPTS, "mean IoU ("), (MASK2FORMER, "panoptic quality 0.")] {
        let folder = tempfile::tempdir().unwrap();
        assert_success(&tiny_run(folder.path(), task, &[]));
        let html = page(&folder.path().join("run"));
        assert_whole(&html);
        assert_legible(&html);
        assert!(html.contains(score) && html.contains("<img"), "{score}");
        assert!(html.len() < 1 << 20, "{}", html.len());
    }
}

#[test]
fn a_failed_run_says_so_with_the_reason_and_an_unwritable_report_loses_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let task = "type = \"classification\"";
    let labels = "dataset.image_label=from_objects";
    let output =
        tiny_run(folder.path(), task, &[labels, "optimizer.lr=1e38", "train.clip_grad_norm=1e30"]);
    assert_fails(&output, 5, &["step "]);
    let run = folder.path().join("run");
    let html = page(&run);
    assert_whole(&html);
    assert!(html.contains("<b>failed</b>") && html.contains("optimizer.lr"));
    assert!(html.contains("sonotune train --resume"));

    assert_success(&tiny_run(folder.path(), task, &[labels, "train.max_steps=3"]));
    // A folder with something in it cannot be replaced by a file.
    fs::remove_file(run.join("report.html")).unwrap();
    fs::create_dir_all(run.join("report.html/in-the-way")).unwrap();
    let name = run.display().to_string();
    let output = resume(&run, &["train.max_steps=6"]);
    assert_success(&output);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_contains(&text, &["report.html", "sonotune report --run"]);
    fs::remove_dir_all(run.join("report.html")).unwrap();
    assert_success(&sonotune(&["report", "--run", &name]));
    let html = page(&run);
    assert!(html.contains("resumed after step 3") && html.contains("<b>finished</b>"));
    assert_whole(&html);

    assert_success(&tiny_run(folder.path(), task, &[labels, "train.max_steps=1"]));
    assert_legible(&page(&run));
    let missing = folder.path().join("none").display().to_string();
    assert_fails(&sonotune(&["report", "--run", &missing]), 2, &["none is not a run folder"]);
}

/// 43 categories of hostile and of long names, 100,000 steps, values that are not finite.
fn extreme_run(path: &Path) {
    fs::create_dir_all(path).unwrap();
    let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
    let task = "[task]\ntype = \"classification\"\n";
    write("config.toml", &format!("seed = 1 # <script>alert(2)</script>\n{task}"));
    write("env.json", r#"{"sonotune":"0","command_line":["<b>"],"resumed":[{"after_step":500}]}"#);
    let time = "2026-01-01T00:00:00Z";
    write("train.log", &format!("{time} warning: a <b>warning</b>\n{time} other\n"));
    write("weights.json", "not json");
    let skipped = json!({
        "max_bad_images": 9,
        "train": [{ "image": "<svg onload=alert(4)>", "reason": "cut short" }],
        "val": [],
    });
    write("skipped.json", &skipped.to_string());
    let summary = json!({
        "status": "interrupted",
        "error": "stopped <a href=\"x\">",
        "steps": 100_000,
        "wall_seconds": 1.0,
        "peak_memory_bytes": null,
        "best": null,
        "metrics": [],
        "next_commands": [],
        "lost_records": ["metrics.jsonl: 3 <b>records</b>"],
        "nondeterministic_operators": ["put_"],
    });
    write("summary.json", &summary.to_string());
    let record = json!({
        "checkpoint": "x",
        "step": 5,
        "split": "val",
        "dataset": "d'\"<&>",
        "dataset_sha256": null,
        "num_images": 3,
        "num_objects": 0,
        "dataset_notes": ["<hr>"],
        "report": extreme_evaluation(),
    });
    write("eval-val.json", &record.to_string());
    let steps = (0..=100_000).step_by(50);
    let mut lines: Vec<String> = steps.map(|step| extreme_step(step).to_string()).collect();
    lines.push(json!({ "step": 100_000, "split": "val", "f1": null, "odd": -1e300 }).to_string());
    write("metrics.jsonl", &lines.join("\n"));
}

/// Thirty terms of the loss; some are not finite.
fn extreme_step(step: u64) -> Value {
    let value = if step.is_multiple_of(7000) { f64::NAN } else { 1e3 / (step + 1) as f64 };
    let mut line = json!({
        "step": step,
        "split": "train",
        "loss": value,
        "lr/a/very.long/group-name": 1e-4,
        "grad_norm": if step > 50_000 { f64::INFINITY } else { value },
        "time/step": 1e-7 * value.max(1.0),
        "time/data": 1e-9,
        "memory/peak": 1e9,
    });
    for layer in 0..10 {
        for term in ["cls", "mask", "dice"] {
            line[format!("d{layer}.loss_{term}")] = json!(value);
        }
    }
    line
}

fn extreme_evaluation() -> Report {
    let long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft";
    let hostile = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(3)>", long];
    let numbered = (3..43).map(|i| format!("category number {i} with a long name"));
    let names: Vec<String> = hostile.into_iter().map(str::to_owned).chain(numbered).collect();
    let mut metrics = vec![Metric::new("f1", f64::NAN), Metric::new("odd", -1e300)];
    metrics.extend(names.iter().map(|name| Metric::new(format!("per_class/{name}/f1"), 0.5)));
    Report {
        metrics,
        tables: vec![Table {
            title: "Per <i>class</i>".into(),
            header: vec!["class".into(), "f1".into()],
            rows: names.iter().map(|name| vec![name.clone(), "n/a".to_owned()]).collect(),
        }],
        conditions: vec![("a&b".into(), "<td>".into())],
        notes: vec![format!("<script>alert(5)</script> no image of {long}")],
        confusion: Some(Confusion { counts: vec![vec![123_456; 43]; 43], names }),
    }
}

#[test]
fn hostile_names_stay_text_and_the_largest_run_still_fits() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a <script> run with 'quotes' and a-very-long-name-without-any-break-in-it";
    let run = folder.path().join(name);
    extreme_run(&run);
    let html = report::html(&run).unwrap();
    assert_whole(&html);
    assert_legible(&html);
    let said = [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&lt;script&gt;alert(2)",
        "&lt;script&gt;alert(5)",
        "onload=alert(4)",
        "a &lt;b&gt;warning",
        "3 &lt;b&gt;records",
        "put_",
        "Skipped images of train: 1",
        "cut short",
        "weights.json is not what it should be",
        "interrupted",
        "resumed after step 500",
        "no defined value",
        "thinned to the extremes",
    ];
    assert_contains(&html, &said);
    assert!(html.len() < 2 << 20, "{}", html.len());
}
