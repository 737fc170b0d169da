//! Several processes on the CUDA key, each with one pretended device: all of the path of NCCL but NCCL.

use rehearsal::Device;
use serde_json::Value;
use sonotune_testing::assert_success;

use crate::{
    cuda_support::{on_cuda, tiny},
    support::{CLASSIFICATION, MASK2FORMER, PROMPTS, metrics},
};

/// Two processes log the losses of one, save the same run, and score the same.
fn two_processes(task: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path(), task).set("precision = \"fp64\"").write();
    let config = config.display().to_string();
    let run = |name: &str| folder.path().join(name);
    on_cuda(&["train", &config, &format!("run_dir={}", run("one").display())]);
    // Each process has a device of its own, whose statistics would be those of the last to end.
    let together = |args: &[&str]| {
        let mut command = Device::new().command(env!("CARGO_BIN_EXE_sonotune"));
        command.args(args).args(["--processes", "2"]).env("OMP_NUM_THREADS", "1");
        command.output().unwrap()
    };
    let run_dir = format!("run_dir={}", run("two").display());
    assert_success(&together(&["train", &config, &run_dir]));
    let values = |name: &str| -> Vec<f64> {
        let steps = metrics(&run(name)).into_iter().filter(|line| line["split"] == "train");
        steps.filter_map(|line| line.get("loss").and_then(Value::as_f64)).collect()
    };
    let (one, two) = (values("one"), values("two"));
    assert_eq!((one.len(), two.len()), (6, 6));
    for (one, two) in one.iter().zip(&two) {
        assert!((one - two).abs() <= 1e-10 * one.abs(), "{one} {two}");
    }
    let scores = ["one", "two"].map(|name| {
        let shown = run(name).display().to_string();
        let args = ["eval", "--run", &shown, "--split", "test", "--json"];
        let output = together(&args);
        assert_success(&output);
        crate::support::json(&output)["metrics"].clone()
    });
    assert_eq!(scores[0], scores[1]);
}

#[test]
fn two_processes_classify_on_cuda_as_one() {
    two_processes(CLASSIFICATION);
}

#[test]
fn two_processes_segment_prompts_on_cuda_as_one() {
    two_processes(PROMPTS);
}

#[test]
fn two_processes_segment_instances_on_cuda_as_one() {
    two_processes(MASK2FORMER);
}
