//! A disk that fills up during a checkpoint, the logs or predictions: nothing old is harmed, the
//! message says what is missing, and once there is space the run ends like an undisturbed one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sonotune_testing::Tiny;

use crate::{
    raw_support::snapshot,
    small_disk::SmallDisk,
    support::{
        assert_fails, assert_success, last, metrics, phantoms, read_json, resume, sonotune, train,
    },
};

const STORAGE: i32 = 6;
/// Space for everything that a run may write.
const AMPLE: u64 = 64 << 10;

fn write_config(folder: &Path) -> PathBuf {
    let tiny = Tiny::run(folder).without("run_dir").data(&phantoms().join("phantoms"));
    tiny.task("type = \"classification\"").with(CONFIG).write()
}

const CONFIG: &str = r#"
[loader]
batch_size = 2
[backbone]
embed_dim = 96
[train]
checkpoint_every_steps = 2
[logging]
num_images = 0
"#;

fn summary(run: &Path) -> Value {
    read_json(&run.join("summary.json"))
}

/// Bytes that a run writes while it trains.
fn log_bytes(run: &Path) -> u64 {
    let is_log =
        |name: &str| ["train.log", "metrics.jsonl"].contains(&name) || name.contains("tfevents");
    let entries = fs::read_dir(run).unwrap().map(Result::unwrap);
    let logs = entries.filter(|entry| is_log(&entry.file_name().to_string_lossy()));
    logs.map(|entry| entry.metadata().unwrap().len()).sum()
}

/// KiB that a run writes at its start, in whole pages: config, environment, weights, counts, the
/// beginnings of the logs, and the space that is reserved for the summary.
const START: u64 = 6 * 4 + 3 * 4 + 32;

#[test]
fn a_checkpoint_that_does_not_fit_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let (through, first) = (folder.path().join("through"), folder.path().join("first"));
    assert_success(&train(&config, &through, &[]));
    assert_success(&train(&config, &first, &["train.max_steps=2"]));

    // Space for the logs and one checkpoint, and half of the second, which is written beside it.
    let checkpoint = last(&through).len() as u64;
    let size = START + log_bytes(&through) / 1024 + checkpoint * 3 / 2 / 1024;
    let Some(disk) = SmallDisk::mount(size) else { return };
    let run = disk.path().join("run");
    let place = run.join("checkpoints").display().to_string();
    assert_fails(&train(&config, &run, &[]), STORAGE, &[&place, " bytes", " missing"]);
    assert!(last(&run) == last(&first), "the first checkpoint is harmed");
    assert_eq!(summary(&run)["status"], "failed");
    let names: Vec<_> = fs::read_dir(run.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert_eq!(names, [""; 0], "half a checkpoint is left");

    disk.resize(AMPLE);
    assert_success(&resume(&run, &[]));
    assert!(last(&run) == last(&through));
    assert_eq!(metrics(&run), metrics(&through));
}

/// Lengths and checksums frame every record: the file must end with a complete one.
fn count_events(run: &Path) -> usize {
    let is_events = |path: &PathBuf| path.to_string_lossy().contains("tfevents");
    let path = fs::read_dir(run).unwrap().map(|e| e.unwrap().path()).find(is_events).unwrap();
    let bytes = fs::read(path).unwrap();
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        at += 8 + 4 + length as usize + 4;
        count += 1;
    }
    assert_eq!(at, bytes.len(), "half a record is left");
    count
}

#[test]
fn logs_and_events_that_do_not_fit_are_told_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let through = folder.path().join("through");
    let many = ["train.max_steps=90", "~train.checkpoint_every_steps"];
    assert_success(&train(&config, &through, &many));

    // A third of the logs fits, plus the slack in `START`: with more, one of the logs might be written
    // completely, since space is allocated in pages. The checkpoints are elsewhere.
    let size = START + log_bytes(&through) / 3 / 1024;
    let Some(disk) = SmallDisk::mount(size) else { return };
    let run = disk.path().join("run");
    let elsewhere = folder.path().join("checkpoints");
    fs::create_dir(&run).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, run.join("checkpoints")).unwrap();
    let output = train(&config, &run, &many);
    let lost = ["its logs are not", "metrics.jsonl: the disk is full", "tfevents", "bytes missing"];
    assert_fails(&output, STORAGE, &lost);
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    for name in ["metrics.jsonl", "tfevents"] {
        let told = |line: &&str| line.contains("warning") && line.contains(name);
        assert_eq!(text.lines().filter(told).count(), 1, "{name} in {text}");
    }
    assert!(last(&run) == last(&through), "the run is not what it was");
    let summary = summary(&run);
    assert_eq!((&summary["status"], &summary["steps"]), (&"finished".into(), &90.into()));
    assert!(summary["lost_records"].as_array().unwrap().len() >= 2, "{summary}");
    // The files that exist are complete, and are the first of the expected ones.
    let (kept, all) = (metrics(&run), metrics(&through));
    assert!(kept.len() < all.len() && kept[..20] == all[..20], "{} of {}", kept.len(), all.len());
    assert!(count_events(&run) < count_events(&through));

    disk.resize(AMPLE);
    assert_success(&resume(&run, &[]));
    assert!(last(&run) == last(&through));
}

/// Names and contents of the files in a folder and below.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = snapshot(folder);
    files.retain(|path, _| folder.join(path).is_file());
    files
}

#[test]
fn predictions_that_do_not_fit_are_whole_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let run = folder.path().join("run");
    assert_success(&train(&config, &run, &[]));
    let checkpoint = last(&run);
    let images = phantoms().join("phantoms/images").display().to_string();
    let predict = |out: &Path, more: &[&str]| {
        let (run, out) = (run.display().to_string(), out.display().to_string());
        sonotune(&[&["predict", &images, "--run", &run, "--out", &out], more].concat())
    };
    let through = folder.path().join("through");
    assert_success(&predict(&through, &[]));
    let expected = contents(&through);
    let size: usize = expected.values().map(|bytes| bytes.len().div_ceil(4096) * 4).sum();

    let Some(disk) = SmallDisk::mount(size as u64 / 2) else { return };
    let out = disk.path().join("out");
    let place = out.display().to_string();
    let full = predict(&out, &[]);
    assert_fails(&full, STORAGE, &[&place, "the disk is full", " bytes", " missing"]);
    let written = contents(&out);
    assert!(!written.is_empty() && written.len() < expected.len());
    for (name, bytes) in &written {
        assert!(expected.get(name) == Some(bytes), "{} is not whole", name.display());
    }
    assert!(last(&run) == checkpoint);

    disk.resize(AMPLE);
    assert_success(&predict(&out, &["--overwrite"]));
    assert!(contents(&out) == expected);
}
