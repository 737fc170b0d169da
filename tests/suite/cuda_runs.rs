//! Complete runs on the CUDA key: every machine can tell whether a tensor was left on the wrong device,
//! whether the host reads memory of the device, and whether CUDA has a kernel for all that is asked of it.

use std::path::Path;

use rehearsal::Device;
use serde_json::Value;
use sonotune_testing::{Tiny, assert_contains, assert_fails, assert_success};
use tempfile::TempDir;

use crate::{
    cuda_support::{on, on_cuda, tiny},
    support::{CLASSIFICATION, MASK2FORMER, PROMPTS, metrics, phantoms, read_json, sonotune},
};

/// Relative difference of losses between the device and the CPU, which use other attention kernels and
/// another way to sample features: four digits.
const TOLERANCE: f64 = 1e-4;

/// Value `name` of each step.
fn values(run: &Path, name: &str) -> Vec<f64> {
    let steps = metrics(run).into_iter().filter(|line| line["split"] == "train");
    steps.filter_map(|line| line.get(name).and_then(Value::as_f64)).collect()
}

/// Trains on the CPU and on the device to the same losses, then scores, predicts and resumes on the device.
fn all_verbs(task: &str, predict: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny(folder.path(), task).set("precision = \"fp32\"");
    let config = tiny.write().display().to_string();
    let (cpu, run) = (folder.path().join("cpu"), folder.path().join("run"));
    let on_cpu = format!("run_dir={}", cpu.display());
    assert_success(&sonotune(&["train", &config, "device=cpu", &on_cpu]));
    on_cuda(&["train", &config]);
    for name in ["loss", "grad_norm"] {
        let (cpu, cuda) = (values(&cpu, name), values(&run, name));
        assert_eq!((cpu.len(), cuda.len()), (6, 6));
        for (cpu, cuda) in cpu.iter().zip(&cuda) {
            let difference = (cpu - cuda).abs() / cpu.abs();
            assert!(difference < TOLERANCE, "{name}: {cpu} on the CPU, {cuda} on the device");
        }
    }
    assert_eq!(read_json(&run.join("env.json"))["device"], "cuda:0");

    let shown = run.display().to_string();
    on_cuda(&["eval", "--run", &shown, "--split", "test"]);
    let out = folder.path().join("predictions").display().to_string();
    let images = phantoms().join("phantoms").display().to_string();
    on_cuda(&[&["predict", "--run", &shown, "--out", &out], predict, &[&images]].concat());
    on_cuda(&["train", "--resume", &shown, "train.max_steps=8"]);
    assert_eq!(values(&run, "loss").len(), 8);
}

#[test]
fn classification_runs_on_cuda_as_on_the_cpu() {
    all_verbs(CLASSIFICATION, &[]);
}

#[test]
fn instance_segmentation_runs_on_cuda_as_on_the_cpu() {
    all_verbs(MASK2FORMER, &["--min-score", "0.0"]);
}

#[test]
fn prompted_segmentation_runs_on_cuda_as_on_the_cpu() {
    let annotations = phantoms().join("phantoms/annotations/test.json").display().to_string();
    all_verbs(PROMPTS, &["--annotations", &annotations]);
}

/// In fp64 other kernels and another order of sums leave next to nothing: whatever is fp32 on the way of a
/// GPU alone would show.
#[test]
fn fp64_is_fp64_on_cuda_as_well() {
    for task in [CLASSIFICATION, PROMPTS, MASK2FORMER] {
        let folder = tempfile::tempdir().unwrap();
        let options = "precision = \"fp64\"\ntrain.clip_grad_norm = 0.1\ntrain.ema.decay = 0.9";
        let config = tiny(folder.path(), task).with(options).write().display().to_string();
        let (cpu, run) = (folder.path().join("cpu"), folder.path().join("run"));
        let on_cpu = format!("run_dir={}", cpu.display());
        let steps = "train.max_steps=3";
        assert_success(&sonotune(&["train", &config, "device=cpu", &on_cpu, steps]));
        on_cuda(&["train", &config, steps]);
        for name in ["loss", "grad_norm"] {
            let (cpu, cuda) = (values(&cpu, name), values(&run, name));
            assert_eq!((cpu.len(), cuda.len()), (3, 3));
            for (cpu, cuda) in cpu.iter().zip(&cuda) {
                let difference = (cpu - cuda).abs() / cpu.abs();
                assert!(difference < 1e-10, "{name}: {cpu} on the CPU, {cuda} on the device");
            }
        }
    }
}

/// Trains on the device, then resumes.
#[track_caller]
fn trains(tiny: &Tiny, folder: &TempDir) {
    let config = tiny.write().display().to_string();
    on_cuda(&["train", &config, "train.max_steps=3"]);
    let run = folder.path().join("run").display().to_string();
    on_cuda(&["train", "--resume", &run, "train.max_steps=5"]);
}

/// A small ResNet in place of the ViT.
fn with_resnet(tiny: Tiny, out_indices: &str) -> Tiny {
    tiny.without("backbone").with(&format!(
        "[backbone]\ntype = \"resnet\"\ndepth = 18\nbase_channels = 8\nout_indices = {out_indices}"
    ))
}

#[test]
fn bf16_lora_checkpointing_accumulation_and_the_moving_average_run_on_cuda() {
    let folder = tempfile::tempdir().unwrap();
    let options = r#"
        precision = "bf16"
        [backbone]
        freeze = "all"
        activation_checkpointing = true
        lora = { rank = 2, targets = ["q", "v", "proj", "mlp"] }
        [train]
        accumulate_batches = 2
        ema = { decay = 0.9 }
    "#;
    trains(&tiny(folder.path(), CLASSIFICATION).with(options), &folder);
}

#[test]
fn plain_vits_train_on_cuda() {
    for keys in [
        "variant = \"dinov3\"\nmlp = \"swiglu\"\nactivation_checkpointing = true",
        "variant = \"beit\"\noutput = \"mean\"",
        "variant = \"dinov2\"\nnum_register_tokens = 4\noutput = \"class_and_mean\"",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tiny = tiny(folder.path(), CLASSIFICATION).without("backbone");
        let sizes = "embed_dim = 32\ndepth = 2\nnum_heads = 2\npatch_size = 8\nimage_size = 32";
        let backbone = format!("[backbone]\ntype = \"vit\"\n{sizes}\n{keys}");
        trains(&tiny.with(&backbone).set("precision = \"bf16\""), &folder);
    }
}

#[test]
fn a_resnet_trains_deterministically_on_cuda() {
    let folder = tempfile::tempdir().unwrap();
    let options = r#"
        precision = "bf16"
        deterministic = "require"
        optimizer.type = "sgd"
    "#;
    let tiny = tiny(folder.path(), CLASSIFICATION).with(options);
    trains(&with_resnet(tiny, "[3]"), &folder);
}

#[test]
fn cached_embeddings_train_on_cuda() {
    for task in [CLASSIFICATION, PROMPTS] {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache").display().to_string();
        let options = format!(
            "precision = \"bf16\"\nbackbone.freeze = \"all\"\nembedding_cache.dir = {cache:?}"
        );
        trains(&tiny(folder.path(), task).with(&options), &folder);
    }
}

#[test]
fn instance_segmentation_with_a_resnet_and_jitter_trains_on_cuda() {
    let folder = tempfile::tempdir().unwrap();
    let task = MASK2FORMER.replace("neck = \"simple_feature_pyramid\"\n", "");
    let options = r#"
        precision = "bf16"
        deterministic = "warn"
        augment.scale_range = [0.1, 2.0]
        train.ema.decay = 0.9
    "#;
    let tiny = tiny(folder.path(), &task).with(options);
    trains(&with_resnet(tiny, "[0, 1, 2, 3]"), &folder);
}

#[test]
fn prompted_segmentation_with_clicks_trains_on_cuda() {
    let folder = tempfile::tempdir().unwrap();
    let task = PROMPTS.replace("ultrasam", "segment_anything")
        + "\ntraining.interactive_rounds = 2\nevaluation.protocols = [\"clicks\", \"noisy_box\"]";
    let options = r#"
        precision = "bf16"
        deterministic = "require"
        backbone.activation_checkpointing = true
    "#;
    trains(&tiny(folder.path(), &task).with(options), &folder);
}

#[test]
fn what_cuda_cannot_do_deterministically_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny(folder.path(), MASK2FORMER).set("deterministic = \"require\"");
    let (output, _) = on(&Device::new(), &["train", &tiny.write().display().to_string()]);
    assert_fails(&output, 2, &["deterministic", "grid_sampler_2d_backward_cuda"]);
}

#[test]
fn the_second_device_trains_and_leaves_the_first_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path(), PROMPTS).write().display().to_string();
    let args = ["train", &config, "device=cuda:1", "train.max_steps=2"];
    let (output, statistics) = on(&Device::new().devices(2), &args);
    assert_success(&output);
    let statistics = statistics.unwrap();
    assert!(statistics.problems.is_empty(), "{:?}", statistics.problems);
    assert_eq!(statistics.peak_bytes[&0], 0);
    assert!(statistics.peak_bytes[&1] > 0);
    assert_eq!(read_json(&folder.path().join("run/env.json"))["device"], "cuda:1");
}

#[test]
fn the_doctor_examines_the_device() {
    let (output, statistics) = on(&Device::new(), &["doctor", "--device", "cuda"]);
    assert_success(&output);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_contains(&text, &["cuda:0 of 1 device(s)", "24.0 GiB of 24.0 GiB free"]);
    assert!(statistics.unwrap().problems.is_empty());
}
