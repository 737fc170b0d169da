//! The bench of the GPU at tiny sizes on the CPU: every step works with this program, so that the script is
//! right when it is needed.

use std::{path::Path, process::Command};

use crate::support::{assert_contains, assert_success, python, read_json};

/// Measured whatever the machine has.
const STEPS: [&str; 11] = [
    "data",
    "doctor",
    "parity/classification",
    "parity/sam_prompt",
    "parity/mask2former",
    "sam/2",
    "end_to_end",
    "resnet/bf16",
    "mask2former/bf16",
    "loader/1",
    "attention/flash",
];

#[test]
fn every_step_of_the_bench_of_a_gpu_runs_on_the_cpu() {
    let Some(python) = python(&["json", "shlex"]) else { return };
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/gpu/bench.py"))
        .args(["--tiny", "--device", "cpu", "--program", env!("CARGO_BIN_EXE_sonotune")])
        .arg("--out")
        .arg(out.path())
        .output()
        .unwrap();
    assert_success(&output);
    let result = read_json(&out.path().join("results.json"));
    let rows = result["rows"].as_array().unwrap();
    for step in STEPS {
        let row = rows.iter().find(|row| row["key"] == step);
        let row = row.unwrap_or_else(|| panic!("no row {step}"));
        assert_eq!(row["status"], "measured", "{row}");
    }
    for row in rows.iter().filter(|row| row["table"] == "parity") {
        // Both sides are the CPU.
        assert_eq!(row["figures"]["loss_difference"], 0.0, "{row}");
    }
    let text = std::fs::read_to_string(out.path().join("results.md")).unwrap();
    assert_contains(&text, &["say nothing about speed", "| SAM ViT-B, bf16, batch 2 | sonotune |"]);
}
