//! `train --dry-run` and `doctor`: figures without leaving files, and faults of this machine.

use std::{fs, path::Path, process::Command};

use crate::support::{
    assert_contains, assert_fails, assert_success, json, sonotune, stdout, tiny_run,
};

const TASK: &str = "type = \"classification\"";

#[test]
fn a_dry_run_tells_what_the_run_takes_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_success(&tiny_run(folder.path(), TASK, &[]));
    let config = folder.path().join("config.toml").display().to_string();
    let dry = folder.path().join("dry");
    let run_dir = format!("run_dir={}", dry.display());
    let args = ["train", &config, "--dry-run", &run_dir, "evaluation.best_metric=f1"];
    let before = fs::read_dir(folder.path()).unwrap().count();
    let report = json(&sonotune(&[&args[..], &["--json", "train.accumulate_batches=2"]].concat()));
    assert_eq!(report["fits"], true);
    assert_eq!(report["batch"]["num_images"], 4);
    assert_eq!(report["batch"]["input_size"], serde_json::json!([64, 64]));
    assert_eq!(report["batch"]["accumulated"], 2);
    assert_eq!(report["num_steps"], 6);
    assert_eq!(report["num_evaluations"], 1);
    for key in ["/step/seconds", "/total_seconds", "/loading/images_per_second"] {
        assert!(report.pointer(key).unwrap().as_f64().unwrap() > 0.0, "{key} of {report}");
    }
    for key in ["/memory/peak_bytes", "/memory/expected_bytes", "/free_bytes"] {
        assert!(report.pointer(key).unwrap().as_u64().unwrap() > 0, "{key} of {report}");
    }
    let metrics = report["evaluation"]["metrics"].as_array().unwrap();
    assert!(metrics.contains(&"f1".into()), "{metrics:?}");
    let last = folder.path().join("run/checkpoints/last.safetensors");
    let (told, true_size) =
        (report["checkpoint_bytes"].as_u64().unwrap(), fs::metadata(last).unwrap().len());
    assert_eq!(told, true_size);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);

    let said =
        ["batch: 4 images of 64x64", "step: the first", "memory: peak", "nothing was written"];
    assert_contains(&stdout(&sonotune(&args)), &said);
    assert!(!dry.exists());

    let misspelt =
        sonotune(&["train", &config, "--dry-run", &run_dir, "evaluation.best_metric=f2"]);
    assert_fails(
        &misspelt,
        2,
        &["the task does not report \"f2\"; it reports precision, recall, f1"],
    );
    let both = sonotune(&["train", &config, "--dry-run", "--overwrite"]);
    assert_fails(&both, 2, &["--overwrite"]);
}

#[test]
fn the_doctor_checks_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let findings = json(&sonotune(&["doctor", "--device", "cpu", "--run-dir", &place, "--json"]));
    let checks = findings["checks"].as_array().unwrap();
    let named = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    for name in ["libtorch", "processors", "arithmetic", "memory", "run folders", "plugins"] {
        assert_ne!(named(name)["status"], "fail", "{checks:?}");
    }
    assert!(named("plugins")["found"].as_str().unwrap().contains("classification"));
    assert!(findings["speed"]["fp32_gflops"].as_f64().unwrap() > 0.0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_doctor_says_how_threads_wait() {
    let doctor = |set: &[(&str, &str)]| {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_sonotune"));
        for name in ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"] {
            doctor.env_remove(name);
        }
        doctor.args(["doctor", "--device", "cpu", "--run-dir", "/tmp", "--json"]);
        json(&doctor.envs(set.iter().copied()).output().unwrap()).to_string()
    };
    assert_contains(&doctor(&[]), &["threads that sleep when they wait beside other work"]);
    let active = doctor(&[("OMP_WAIT_POLICY", "active")]);
    assert_contains(&active, &["as the environment says (OMP_WAIT_POLICY=active)"]);
}

#[test]
fn the_doctor_fails_where_runs_would() {
    let output = sonotune(&["doctor", "--device", "cpu", "--run-dir", "/proc/runs"]);
    assert_fails(&output, 1, &["checks failed"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_contains(&text, &["/proc is not writable", "-> choose"]);
    if ["/dev/nvidiactl", "/dev/dxg"].iter().any(|path| Path::new(path).exists()) {
        eprintln!("skipped: this machine has an NVIDIA driver");
        return;
    }
    let output = sonotune(&["doctor", "--device", "cuda", "--run-dir", "/tmp"]);
    assert_fails(&output, 1, &["checks failed"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("FAIL  GPU"), "{text}");
}
