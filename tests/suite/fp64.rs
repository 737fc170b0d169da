//! Runs in fp64, from the first step to predictions, and what their weights are good for.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use sonotune_testing::Tiny;
use sonotune_weights as weights;
use tch::{Kind, Tensor};
use tempfile::TempDir;

use crate::support::{
    self, CLASSIFICATION, MASK2FORMER, assert_fails, assert_success, eval, last, metrics, phantoms,
    resume, sonotune, stdout,
};

const FP64: &str = "precision=fp64";

/// Relative difference of losses and gradients between fp32 and fp64: in the first step, and in later ones,
/// where a query may be matched with another object.
const LIKE_FP32: [f64; 2] = [1e-4, 0.2];

/// Without dropout, which draws other numbers in another format.
const PROMPTS: &str = "type = \"sam_prompt\"\nconvention = \"ultrasam\"\n\
                       decoder = { num_heads = 2, mlp_dim = 32, dropout = 0.0 }";

/// A folder of runs, and their config, which uses everything that touches gradients and weights.
struct Place {
    folder: TempDir,
    config: PathBuf,
}

impl Place {
    fn new(task: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tiny = Tiny::run(folder.path()).data(&phantoms().join("phantoms")).task(task);
        let config = tiny
            .with("[dataset]\ntest = \"annotations/test.json\"")
            .with("[loader]\nbatch_size = 2")
            .with("[train]\naccumulate_batches = 2\nclip_grad_norm = 0.1\nema = { decay = 0.9 }")
            .write();
        Self { folder, config }
    }

    fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_training(&self, name: &str, more: &[&str]) -> Output {
        support::train(&self.config, &self.run(name), more)
    }

    fn train(&self, name: &str, more: &[&str]) {
        assert_success(&self.try_training(name, more));
    }

    /// The tensors of a run's last checkpoint.
    fn tensors(&self, name: &str) -> BTreeMap<String, Tensor> {
        tensors(&checkpoint(&self.run(name)))
    }
}

fn checkpoint(run: &Path) -> PathBuf {
    run.join("checkpoints/last.safetensors")
}

fn tensors(file: &Path) -> BTreeMap<String, Tensor> {
    let file = weights::open(file).unwrap();
    let names = file.entries().iter().map(|entry| entry.name.clone());
    names.map(|name| (name.clone(), file.read(&name).unwrap())).collect()
}

/// Losses and gradient norms of each step.
fn values(run: &Path) -> Vec<f64> {
    let steps = metrics(run).into_iter().filter(|line| line["split"] == "train");
    let of = |line: BTreeMap<String, Value>| {
        ["loss", "grad_norm"].map(|name| line[name].as_f64().unwrap())
    };
    steps.flat_map(of).collect()
}

fn all_verbs(task: &str, predict: &[&str]) {
    let place = Place::new(task);
    place.train("fp32", &[]);
    place.train("fp64", &[FP64]);
    let run = place.run("fp64");
    let (single, double) = (values(&place.run("fp32")), values(&run));
    assert_eq!((single.len(), double.len()), (12, 12));
    for (i, (single, double)) in single.iter().zip(&double).enumerate() {
        let off = (single - double).abs() / double.abs();
        let allowed = LIKE_FP32[usize::from(i > 1)];
        assert!(off < allowed && single != double, "{double} in fp64, {single} in fp32");
    }
    for (name, tensor) in place.tensors("fp64") {
        let is_counter = name.starts_with("optimizer.step.");
        let expected = if is_counter { Kind::Float } else { Kind::Double };
        assert!(tensor.kind() == expected, "{name} is {:?}", tensor.kind());
    }

    place.train("stopped", &[FP64, "train.max_steps=4"]);
    assert_success(&resume(&place.run("stopped"), &["train.max_steps=6"]));
    let [through, stopped] = ["fp64", "stopped"].map(|name| place.tensors(name));
    assert!(through.iter().all(|(name, tensor)| tensor.equal(&stopped[name])));
    assert!(last(&run).len() == last(&place.run("stopped")).len());

    assert_eq!(eval(&run, "test")["precision"], "fp64");
    let (shown, config) = (run.display().to_string(), place.config.display().to_string());
    let images = phantoms().join("phantoms").display().to_string();
    let out = place.run("predictions").display().to_string();
    let args = ["predict", &images, "--run", &shown, "--out", &out, "--no-pictures"];
    assert_success(&sonotune(&[&args, predict].concat()));
    let tried = stdout(&sonotune(&["train", &config, FP64, "--dry-run"]));
    assert!(tried.contains("fp64"), "{tried}");

    // The same weights may go on in another format.
    assert_success(&resume(&run, &["train.max_steps=7", "precision=fp32"]));
    assert!(place.tensors("fp64").values().all(|tensor| tensor.kind() == Kind::Float));
}

#[test]
fn classification_runs_in_fp64() {
    all_verbs(CLASSIFICATION, &[]);
}

#[test]
fn prompted_segmentation_runs_in_fp64() {
    let annotations = phantoms().join("phantoms/annotations/test.json").display().to_string();
    all_verbs(PROMPTS, &["--annotations", &annotations]);
}

#[test]
fn instance_segmentation_runs_in_fp64() {
    all_verbs(MASK2FORMER, &[]);
}

#[test]
fn weights_of_fp64_start_a_run_in_fp32_and_the_other_way_round() {
    let place = Place::new(CLASSIFICATION);
    place.train("fp64", &[FP64, "train.max_steps=2"]);
    // At this rate a step leaves the weights as they were loaded.
    let start = |name: &str, from: &str, precision: &str| {
        let path = format!("weights={{path={:?}}}", checkpoint(&place.run(from)));
        place.train(name, &[&path, precision, "optimizer.lr=1e-30", "train.max_steps=1"]);
        place.tensors(name)
    };
    let single = start("single", "fp64", "precision=fp32");
    let again = start("again", "single", FP64);
    let mut compared = 0;
    for (name, double) in place.tensors("fp64") {
        if name.starts_with("optimizer.") || name.starts_with("ema.") {
            continue;
        }
        let rounded = double.to_kind(Kind::Float);
        for (loaded, kind) in [(&single[&name], Kind::Float), (&again[&name], Kind::Double)] {
            assert!(loaded.kind() == kind);
            let off = (loaded - &rounded).abs().max().double_value(&[]);
            assert!(off < 1e-25, "{name}: {off:e}");
        }
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
    let log = fs::read_to_string(place.run("single").join("train.log")).unwrap();
    assert!(log.contains("float64 -> float32"), "{log}");
}

#[test]
fn an_export_keeps_every_bit_of_fp64() {
    let place = Place::new(CLASSIFICATION);
    place.train("fp64", &[FP64, "train.max_steps=2", "backbone.freeze=all", "backbone.lora={}"]);
    let (out, run) = (place.run("whole.safetensors"), place.run("fp64").display().to_string());
    let shown = out.display().to_string();
    assert_success(&sonotune(&["weights", "export", "--merge", &run, &shown]));
    let (whole, trained) = (tensors(&out), place.tensors("fp64"));
    assert!(whole.values().all(|tensor| tensor.kind() == Kind::Double));
    // With the moving average, which is what the run exports.
    assert!(whole["head.fc.weight"].equal(&trained["ema.head.fc.weight"]));
}

#[test]
fn cached_embeddings_serve_a_run_in_fp64() {
    let place = Place::new(CLASSIFICATION);
    let cache = format!("embedding_cache={{dir={:?}}}", place.run("cache"));
    let frozen = "backbone.freeze=all";
    place.train("plain", &[FP64, frozen]);
    place.train("cached", &[FP64, frozen, &cache]);
    let (plain, cached) = (values(&place.run("plain")), values(&place.run("cached")));
    for (plain, cached) in plain.iter().zip(&cached) {
        // The cache rounds to fp32.
        assert!((plain - cached).abs() < 1e-6 * plain.abs(), "{plain} {cached}");
    }
    let head = &place.tensors("cached")["head.fc.weight"];
    assert!(!head.to_kind(Kind::Float).to_kind(Kind::Double).equal(head));
}

#[test]
fn a_kernel_without_fp64_is_refused_with_one_that_has_it() {
    let place = Place::new(CLASSIFICATION);
    let kernel = |name: &str| {
        let kernel = format!("backbone.attention_kernel={name}");
        place.try_training(name, &[FP64, &kernel, "train.max_steps=1"])
    };
    assert_fails(&kernel("fused"), 2, &["attention_kernel = \"fused\"", "Double", "\"auto\""]);
    assert_success(&kernel("auto"));
}
