//! The run folder: nothing is lost by accident, and its files say what happened.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sonotune_base::error::exit_code;
use sonotune_dataset::Split;
use sonotune_engine::device::AttentionBackend;
use sonotune_metrics::{Confusion, Metric, Report, Table};
use sonotune_run::logging::{LoggerOptions, RunLogger, StepTime, TrainRecord, environment};
use sonotune_run_folder::{Existing, Faults, RunFolder, RunStatus, Summary};
use sonotune_testing::assert_contains;
use tch::Device;

pub(crate) fn options(resume_step: Option<u64>) -> LoggerOptions {
    LoggerOptions { total_steps: 40, resume_step, evaluation_pending: false, device: Device::Cpu }
}

pub(crate) fn record(step: u64) -> TrainRecord {
    let loss = 1.0 / step as f64;
    TrainRecord {
        step,
        losses: vec![("loss".into(), loss), ("loss_focal".into(), loss / 2.0)],
        lrs: vec![("base".into(), 1e-4), ("head".into(), 1e-3)],
        grad_norm: Some(0.5),
        scalars: vec![("accuracy".into(), 0.75)],
    }
}

pub(crate) fn report() -> Report {
    Report {
        metrics: vec![Metric::new("f1", 0.8), Metric::new("per_class/benign/f1", 0.9)],
        tables: vec![Table {
            title: "Per class".into(),
            header: vec!["class".into(), "f1".into()],
            rows: vec![vec!["benign".into(), "0.9000".into()]],
        }],
        confusion: Some(Confusion {
            names: vec!["benign".into(), "malignant".into()],
            counts: vec![vec![3, 1], vec![0, 4]],
        }),
        ..Report::default()
    }
}

fn started(path: &Path) {
    let folder = RunFolder::create(path, Existing::Refuse).unwrap();
    folder.write_config("seed = 1\n").unwrap();
    folder.write_environment(&environment(Device::Cpu.into(), AttentionBackend::Flash, 1)).unwrap();
    let logger = RunLogger::new(&folder, options(None)).unwrap();
    logger.info("hello\nworld");
    for step in [10, 20] {
        logger.tick(step, StepTime { step_seconds: 0.5, data_seconds: 0.125, images: 8 });
        logger.tick(step, StepTime { step_seconds: 1.5, data_seconds: 0.375, images: 8 });
        logger.train_step(&record(step));
    }
    logger.evaluation(20, Split::Val, &report());
    fs::write(folder.checkpoints().join("last.safetensors"), "weights").unwrap();
}

fn refusal(path: &Path, existing: Existing) -> String {
    let error = RunFolder::create(path, existing).unwrap_err();
    assert_eq!(exit_code(&error), 2, "{error:#}");
    format!("{error:#}")
}

fn lines(path: PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file below `path` with its content.
fn content(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn an_earlier_run_is_never_touched_by_default() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("runs/first");
    started(&path);
    let before = content(&path);
    let message = refusal(&path, Existing::Refuse);
    let said = ["runs/first", "step 20", "checkpoints: 1", "--resume", "--overwrite", "run_dir"];
    assert_contains(&message, &said);
    assert_eq!(content(&path), before);
}

#[test]
fn folders_of_others_are_neither_overwritten_nor_resumed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("thesis");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("config.toml"), "mine").unwrap();
    fs::write(path.join("env.json"), "{}").unwrap();
    for existing in [Existing::Refuse, Existing::Overwrite, Existing::Resume] {
        let message = refusal(&path, existing);
        assert!(message.contains("not a run folder (it holds config.toml, env.json)"), "{message}");
    }
    assert_eq!(content(&path).len(), 2);
    assert!(refusal(&path.join("env.json"), Existing::Overwrite).contains("is a file"));
    let absent = refusal(&root.path().join("absent"), Existing::Resume);
    assert!(absent.contains("does not exist"), "{absent}");
    assert!(!root.path().join("absent").exists());
}

#[test]
fn overwriting_removes_the_run_and_only_the_run() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    started(&path);
    fs::write(path.join("notes.txt"), "my notes").unwrap();
    fs::write(path.join("eval-test.json"), "scores of the old model").unwrap();
    let folder = RunFolder::create(&path, Existing::Overwrite).unwrap();
    assert_eq!(folder.left_alone(), ["notes.txt"]);
    let left: Vec<_> = content(&path).into_iter().map(|(p, _)| p).collect();
    assert_eq!(left, ["env.json", "notes.txt", "train.log"].map(|name| path.join(name)));
    assert_eq!(fs::read_to_string(path.join("train.log")).unwrap(), "");
}

#[test]
fn two_processes_cannot_share_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let first = RunFolder::create(&path, Existing::Refuse).unwrap();
    let message = refusal(&path, Existing::Resume);
    assert!(message.contains("another process is writing"), "{message}");
    drop(first);
    RunFolder::create(&path, Existing::Resume).unwrap();
}

#[test]
fn an_empty_folder_and_one_barely_begun_count_as_absent() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("checkpoints")).unwrap();
    fs::write(root.path().join("train.log"), "").unwrap();
    RunFolder::create(root.path(), Existing::Refuse).unwrap();
}

#[test]
fn resumed_logs_read_like_one_run() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    started(&path);
    fs::write(path.join("summary.json"), "{}").unwrap();
    {
        let folder = RunFolder::create(&path, Existing::Resume).unwrap();
        assert!(!path.join("summary.json").exists(), "it would say that the run has ended");
        folder
            .write_environment(&environment(Device::Cpu.into(), AttentionBackend::Flash, 1))
            .unwrap();
        let logger = RunLogger::new(&folder, options(Some(10))).unwrap();
        for step in [20, 30] {
            logger.train_step(&record(step));
        }
    }
    let steps: Vec<_> =
        lines(path.join("metrics.jsonl")).iter().map(|v| v["step"].clone()).collect();
    assert_eq!(steps, [10, 20, 30]);
    let environment: Value =
        serde_json::from_str(&fs::read_to_string(path.join("env.json")).unwrap()).unwrap();
    assert_eq!(environment["seed"], 1);
    assert_eq!(environment["resumed"].as_array().unwrap().len(), 1);
}

#[test]
fn every_log_says_what_happened() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    started(&path);

    let metrics = lines(path.join("metrics.jsonl"));
    assert_eq!(metrics[0]["split"], "train");
    assert_eq!(metrics[0]["loss"], 0.1);
    assert_eq!(metrics[0]["loss_focal"], 0.05);
    assert_eq!(metrics[0]["accuracy"], 0.75);
    assert_eq!(metrics[0]["lr/head"], 1e-3);
    // Two steps of 0.5 and 1.5 s, 8 images each.
    assert_eq!(metrics[0]["time/step"], 1.0);
    assert_eq!(metrics[0]["time/data"], 0.25);
    assert_eq!(metrics[0]["time/images_per_second"], 8.0);
    assert!(metrics[0]["memory/peak"].as_f64().unwrap() > 1e6);
    assert_eq!(metrics[2]["split"], "val");
    assert_eq!(metrics[2]["per_class/benign/f1"], 0.9);

    let log = fs::read_to_string(path.join("train.log")).unwrap();
    let said = [
        "Z hello\n",
        "Z world\n",
        "Z step 10/40  eta 0s  loss 0.1000  lr 1e-4  8.0 images/s  data wait 25 %  memory ",
        "iB  grad_norm 0.5000  accuracy 0.7500\n",
        "Z step 20  val: f1 0.8000\n",
        "Z benign  0.9000\n",
    ];
    assert_contains(&log, &said);
    assert!(log.lines().all(|line| line.as_bytes().get(19) == Some(&b'Z')), "{log}");
}

#[test]
fn a_full_disk_loses_records_and_not_the_run() {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(root.path(), Existing::Refuse).unwrap();
    // Every write to this device fails with "no space left".
    std::os::unix::fs::symlink("/dev/full", root.path().join("metrics.jsonl")).unwrap();
    let logger = RunLogger::new(&folder, options(None)).unwrap();
    for step in [1, 2] {
        logger.train_step(&record(step));
    }
    logger.evaluation(2, Split::Val, &report());
    let summary = Summary {
        status: RunStatus::Finished,
        stopped_early: None,
        error: None,
        steps: 2,
        wall_seconds: 1.0,
        peak_memory_bytes: None,
        best: None,
        metrics: report().metrics,
        notes: Vec::new(),
        faults: Faults::default(),
        next_commands: vec!["sonotune eval".into()],
    };
    let lost = logger.finish(&summary).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&lost), 6);
    let text = format!("{lost:#}");
    assert!(text.contains("but its logs are not: 3 record(s) lost"), "{text}");
    let log = fs::read_to_string(root.path().join("train.log")).unwrap();
    assert!(log.contains("step 2/40"), "{log}");
    assert_eq!(log.matches("metrics.jsonl: the disk is full").count(), 1, "{log}");
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(root.path().join("summary.json")).unwrap())
            .unwrap();
    assert_eq!(summary["status"], "finished");
    assert_eq!(summary["metrics"][0]["name"], "f1");
}

/// A process that was killed while it wrote the file that marks a folder as a run's.
#[test]
fn a_folder_that_a_killed_start_left_is_taken_as_empty() {
    let home = tempfile::tempdir().unwrap();
    for existing in [Existing::Refuse, Existing::Overwrite] {
        let run = home.path().join(format!("{existing:?}"));
        fs::create_dir_all(run.join("checkpoints")).unwrap();
        fs::write(run.join("train.log"), "").unwrap();
        fs::write(run.join(".env.json.qumDXu.tmp"), "{ \"sono").unwrap();
        drop(RunFolder::create(&run, existing).unwrap());
        assert!(!run.join(".env.json.qumDXu.tmp").exists());
        assert!(run.join("env.json").exists());
    }
}
