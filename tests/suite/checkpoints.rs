//! Checkpoints of a training: averaged weights, kept steps, early stopping.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use sonotune_engine::checkpoint::{self, kept};
use sonotune_weights as weights;
use tch::Tensor;

use crate::support::{
    assert_fails, assert_success, json, read_json, resume, sonotune, stdout, tiny_run,
};

const CLASSIFIER: &str = "type = \"classification\"";

/// Six steps of a tiny classifier, scored after every second one.
fn run(folder: &Path, more: &[&str]) -> Output {
    let always =
        ["dataset.image_label=from_objects", "evaluation.every_steps=2", "logging.num_images=0"];
    tiny_run(folder, CLASSIFIER, &[&always, more].concat())
}

fn checkpoints(folder: &Path) -> PathBuf {
    folder.join("run/checkpoints")
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let file = weights::open(path).unwrap();
    let names = file.entries().iter().map(|entry| entry.name.clone());
    names.map(|name| (name.clone(), file.read(&name).unwrap())).collect()
}

/// The metrics of the evaluation after `step`.
fn scores(folder: &Path, step: u64) -> Value {
    let text = fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["step"] == step && line["split"] == "val").unwrap()
}

#[test]
fn the_average_is_scored_and_kept_and_leaves_the_weights_alone() {
    let folder = tempfile::tempdir().unwrap();
    let averaged = ["train.ema={decay=0.8}", "evaluation.best_metric=accuracy"];
    assert_success(&run(folder.path(), &averaged));
    let last = checkpoints(folder.path()).join(checkpoint::LAST);
    let with = tensors(&last);
    // Swapping for three evaluations has changed no bit of what is trained.
    let plain = tempfile::tempdir().unwrap();
    assert_success(&run(plain.path(), &[]));
    let without = tensors(&checkpoints(plain.path()).join(checkpoint::LAST));
    for (name, tensor) in &without {
        assert!(with[name] == *tensor, "{name}");
    }
    let averages: BTreeMap<_, _> =
        with.iter().filter_map(|(name, t)| Some((name.strip_prefix("ema.")?, t))).collect();
    assert_eq!(with.len(), without.len() + averages.len());
    let differs = averages.iter().filter(|(name, t)| with[**name] != ***t).count();
    assert!(differs > 10, "{differs} of {} averages differ", averages.len());

    let best = checkpoints(folder.path()).join(checkpoint::BEST);
    let progress = checkpoint::read_progress(&best).unwrap();
    assert!(progress.averaged);
    assert!(tensors(&best).keys().all(|name| !name.contains("ema.")));

    // Training logged the same scores as `eval` reports for the last checkpoint's average.
    let shown = folder.path().join("run").display().to_string();
    let eval = |which: &str, more: &[&str]| {
        let args = ["eval", "--run", &shown, "--split", "val", "--checkpoint", which];
        sonotune(&[&args, more].concat())
    };
    let record = json(&eval("last", &["--json"]));
    assert_eq!(record["averaged"], true);
    let logged = scores(folder.path(), 6);
    for metric in record["report"]["metrics"].as_array().unwrap() {
        assert_eq!(metric["value"], logged[metric["name"].as_str().unwrap()], "{metric}");
    }
    let line = stdout(&eval("last", &[]));
    assert!(line.contains("(step 6, moving average)"), "{line}");
    let line = stdout(&eval("best", &[]));
    assert!(line.contains("moving average)"), "{line}");

    // A run cannot resume from a best checkpoint, and the average is neither dropped nor invented.
    let best = best.display().to_string();
    let resume = |folder: &Path, more: &[&str]| {
        resume(&folder.join("run"), &[&["train.max_steps=7"], more].concat())
    };
    let from_best = resume(folder.path(), &["--checkpoint", &best]);
    assert_fails(&from_best, 4, &["cannot resume", "moving average"]);
    assert_fails(&resume(folder.path(), &["~train.ema"]), 4, &["[train.ema] is left out"]);
    let began = resume(plain.path(), &averaged[..1]);
    assert_fails(&began, 4, &["no moving average of", "[train.ema]"]);
}

#[test]
fn the_newest_steps_are_kept_and_one_can_be_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let keep = ["train.keep_checkpoints=2", "train.checkpoint_every_steps=1"];
    assert_success(&run(folder.path(), &keep));
    let checkpoints = checkpoints(folder.path());
    let last = checkpoints.join(checkpoint::LAST);
    assert_eq!(kept::steps(&checkpoints).unwrap(), [5, 6]);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&last), inode(&kept::path(&checkpoints, 6)));
    let end = fs::read(&last).unwrap();

    let run = folder.path().join("run");
    let shown = run.display().to_string();
    let eval = |step| sonotune(&["eval", "--run", &shown, "--split", "val", "--checkpoint", step]);
    assert!(stdout(&eval("5")).contains("(step 5)"));
    assert_fails(&eval("4"), 4, &["step-00000004.safetensors", "step-00000005.safetensors"]);
    assert_fails(&sonotune(&["train", "--checkpoint", "5"]), 2, &["--resume"]);

    // From step 5 to step 5: later checkpoints remain; the next save would drop them.
    assert_success(&resume(&run, &["--checkpoint", "5", "train.max_steps=5"]));
    assert_eq!(inode(&last), inode(&kept::path(&checkpoints, 5)));
    let text = fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    assert!(!text.contains("\"step\":6"), "{text}");
    // From there on it is the same run, also when resumed from a file.
    assert_success(&resume(&run, &["train.max_steps=6"]));
    assert!(fs::read(&last).unwrap() == fs::read(kept::path(&checkpoints, 6)).unwrap());
    let copy = folder.path().join("copy.safetensors");
    fs::copy(kept::path(&checkpoints, 5), &copy).unwrap();
    let copy = copy.display().to_string();
    assert_success(&resume(&run, &["--checkpoint", &copy]));
    assert_eq!(kept::steps(&checkpoints).unwrap(), [5, 6]);
    assert!(fs::read(&last).unwrap() == end);
}

#[test]
fn a_run_that_gets_no_better_stops_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing improves on the first evaluation by ten.
    let early = [
        "train.max_steps=20",
        "train.early_stopping={patience=2, min_delta=10.0}",
        "evaluation.best_metric=accuracy",
        "train.checkpoint_every_steps=1",
        "train.keep_checkpoints=10",
    ];
    assert_success(&run(folder.path(), &early));
    let summary = || read_json(&folder.path().join("run/summary.json"));
    let why = "stopped early after step 6: 2 evaluations in a row did not improve `accuracy`";
    let stopped = |summary: &Value| {
        assert_eq!(summary["status"], "finished");
        assert_eq!(summary["steps"], 6);
        assert!(summary["stopped_early"].as_str().unwrap().starts_with(why), "{summary}");
    };
    stopped(&summary());
    let log = fs::read_to_string(folder.path().join("run/train.log")).unwrap();
    assert!(log.contains(why), "{log}");
    let last = checkpoints(folder.path()).join(checkpoint::LAST);
    let end = fs::read(&last).unwrap();

    let run = folder.path().join("run");
    // Between the evaluations, at the last one, and after the end.
    for from in ["5", "4", "6"] {
        assert_success(&resume(&run, &["--checkpoint", from]));
        stopped(&summary());
        assert!(fs::read(&last).unwrap() == end, "from step {from}");
    }
    assert_success(&resume(&run, &["train.early_stopping.patience=3"]));
    assert_eq!(summary()["steps"], 8);

    let stopping = ["dataset.image_label=from_objects", "train.early_stopping={patience=2}"];
    let contradiction = tiny_run(folder.path(), CLASSIFIER, &stopping);
    assert_fails(&contradiction, 2, &["evaluation.best_metric", "evaluation.every_steps"]);
}

/// A metric may be undefined from the first evaluation on; the checkpoint says so and can be read.
#[test]
fn an_undefined_best_goes_through_a_checkpoint() {
    let best = checkpoint::Best { metric: "f1".to_owned(), value: f64::NAN, step: 2 };
    let text = serde_json::to_string(&best).unwrap();
    let read: checkpoint::Best = serde_json::from_str(&text).unwrap();
    assert!(read.value.is_nan() && read.step == 2, "{text}");
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    assert_success(&run(folder.path(), &[]));
    let run = folder.path().join("run");
    let ours = [
        "checkpoints/.last.safetensors.aB3xYz.tmp",
        "checkpoints/.best.safetensors.aB3xYz.tmp",
        "checkpoints/.step-00000006.safetensors.aB3xYz.tmp",
        ".config.toml.aB3xYz.tmp",
    ];
    let theirs = ["checkpoints/.mine.aB3xYz.tmp", ".eval-test.json.aB3xYz.tmp", "notes.tmp"];
    for name in ours.iter().chain(&theirs) {
        fs::write(run.join(name), b"half").unwrap();
    }
    assert_success(&resume(&run, &["train.max_steps=7"]));
    assert!(ours.iter().all(|name| !run.join(name).exists()));
    assert!(theirs.iter().all(|name| run.join(name).exists()));
}
