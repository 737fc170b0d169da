//! Machines on which a GPU cannot be used, or has too little memory: what the program says, and what is left.

use std::{os::unix::fs::PermissionsExt, path::Path};

use rehearsal::Device;
use sonotune_testing::{assert_contains, assert_fails, assert_success};

use crate::{
    cuda_support::{on, on_cuda, tiny},
    support::{CLASSIFICATION, MASK2FORMER, read_json},
};

/// Memory in which the tiny instance segmentation trains, in bytes: it needs 6 million.
const ENOUGH: u64 = 9_000_000;

/// Writes the config of a tiny run; returns its path.
fn config(folder: &Path, task: &str) -> String {
    tiny(folder, task).write().display().to_string()
}

/// What every message about missing memory must say.
const ADVICE: [&str; 4] = [
    "CUDA out of memory. Tried to allocate",
    "has a total capacity of",
    "loader.batch_size",
    "--dry-run",
];

#[test]
fn without_a_usable_device_cuda_is_refused_and_auto_takes_the_cpu() {
    let machines = [
        (Device::new().devices(0), "libtorch finds no usable CUDA device"),
        (Device::new().old_driver(), "NVIDIA driver on your system is too old"),
        (Device::with_broken_cuda_half(), "libtorch's CUDA libraries do not load"),
    ];
    for (machine, reason) in machines {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), CLASSIFICATION);
        let (output, _) = on(&machine, &["train", &config]);
        assert_fails(&output, 2, &["device = \"cuda\", but CUDA cannot be used", reason]);
        assert!(!folder.path().join("run").exists());
        let (output, _) = on(&machine, &["train", &config, "device=auto", "train.max_steps=1"]);
        assert_success(&output);
        assert_eq!(read_json(&folder.path().join("run/env.json"))["device"], "cpu");
    }
}

#[test]
fn the_doctor_names_a_driver_that_is_too_old() {
    // NVIDIA's tool is not part of the device: this one answers every question with a line.
    let folder = tempfile::tempdir().unwrap();
    let tool = folder.path().join("nvidia-smi");
    let answer = "#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 535.104.05, 9.0, 80000, 81559'\n";
    std::fs::write(&tool, answer).unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Device::new().old_driver().command(env!("CARGO_BIN_EXE_sonotune"));
    let output = command.env("PATH", path).args(["doctor", "--run-dir", "/tmp"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_contains(&text, &["535.104.05 is too old", "needs 580 or newer"]);
}

#[test]
fn a_first_step_that_does_not_fit_says_how_much_there_is_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), MASK2FORMER);
    let (output, _) = on(&Device::new().memory_bytes(ENOUGH / 3), &["train", &config]);
    assert_fails(&output, 7, &ADVICE);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_contains(&text, &["training step 0: CUDA out of memory"]);
    assert!(!text.contains("frame #") && !text.contains("nvidia-smi"), "{text}");
    let run = folder.path().join("run");
    assert_eq!(read_json(&run.join("summary.json"))["status"], "failed");
    assert!(!run.join("checkpoints/last.safetensors").exists());
}

#[test]
fn a_model_that_does_not_fit_is_refused_before_the_run_folder_exists() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), CLASSIFICATION);
    let (output, _) = on(&Device::new().memory_bytes(100_000), &["train", &config]);
    assert_fails(&output, 7, &ADVICE);
    assert_contains(&String::from_utf8_lossy(&output.stderr), &["building the model: CUDA out"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn memory_that_ends_later_leaves_the_checkpoint_to_continue_from() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), MASK2FORMER);
    let machine = Device::new().memory_bytes(ENOUGH).fragmented_from_phase(5);
    let every_two = "train.checkpoint_every_steps=2";
    let (output, _) = on(&machine, &["train", &config, every_two]);
    assert_fails(&output, 7, &ADVICE);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_contains(&text, &["The checkpoint after step 2 is intact", "sonotune train --resume"]);
    let run = folder.path().join("run");
    on_cuda(&["train", "--resume", &run.display().to_string()]);
    assert_eq!(read_json(&run.join("summary.json"))["status"], "finished");
}

#[test]
fn an_evaluation_that_does_not_fit_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), MASK2FORMER);
    on_cuda(&["train", &config, "train.max_steps=1"]);
    let run = folder.path().join("run").display().to_string();
    let args = ["eval", "--run", &run, "--split", "test"];
    let (output, _) = on(&Device::new().memory_bytes(1_600_000), &args);
    assert_fails(&output, 7, &ADVICE);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_contains(&text, &["predicting the images", "evaluation.batch_size"]);
}

#[test]
fn memory_that_another_process_holds_is_told_from_a_run_that_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), MASK2FORMER);
    let machine = Device::new().memory_bytes(10 * ENOUGH).held_bytes(10 * ENOUGH - ENOUGH / 3);
    let (output, _) = on(&machine, &["train", &config]);
    assert_fails(&output, 7, &["Process 4242 has", "end the other process", "nvidia-smi"]);
    let elsewhere = format!("run_dir={}", folder.path().join("dry").display());
    let (output, _) = on(&machine, &["train", &config, "--dry-run", &elsewhere]);
    assert_fails(&output, 7, &["does not fit into memory"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_contains(&text, &["1. other processes hold 83.0 MiB of the device's memory"]);
}
