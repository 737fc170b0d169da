//! Losses of three tiny runs, compared bit by bit with those committed under `tests/fixtures/golden`.
//!
//! A change that is not meant to change numbers must not change them. To regenerate them after one
//! that is:
//!
//! ```sh
//! SONOTUNE_WRITE_GOLDEN=1 cargo test --test suite golden
//! ```
//!
//! Arithmetic is pinned, since the test may run on another machine: see [`PINNED`].

use std::{collections::BTreeMap, fs, path::Path, process::Command, sync::OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sonotune_testing::Tiny;
use tempfile::TempDir;

use crate::support::{assert_success, fixture, metrics, read_json};

const WRITE: &str = "SONOTUNE_WRITE_GOLDEN";

/// One thread, and in every library the code for any x86-64 processor, without fused
/// multiply-add: sums and exponentials then round alike on all of them.
const PINNED: [(&str, &str); 6] = [
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("MKL_CBWR", "COMPATIBLE"),
    ("ATEN_CPU_CAPABILITY", "default"),
    ("ONEDNN_MAX_CPU_ISA", "SSE41"),
    // exp, log and their like in the C library.
    ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-FMA4,-FMA4_Usable"),
];

#[derive(Debug, Serialize, Deserialize)]
struct Golden {
    /// Another version of libtorch gives other numbers.
    libtorch: String,
    /// Values of each optimiser step, by name.
    steps: Vec<BTreeMap<String, Number>>,
}

/// A number, in bits for comparing and in decimals for reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Number {
    bits: String,
    value: f64,
}

impl Number {
    fn new(value: f64) -> Self {
        Self { bits: format!("{:016x}", value.to_bits()), value }
    }
}

/// The program with pinned arithmetic.
fn pinned(args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_sonotune")).args(args).envs(PINNED).output();
    assert_success(&output.unwrap());
}

/// 30 images of 64², also drawn with pinned arithmetic.
fn images() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("phantoms").display().to_string();
        pinned(&["data", "phantom", &out, "--num-images", "30", "--image-size", "64"]);
        folder
    };
    FOLDER.get_or_init(make).path()
}

/// A run: `task` and `backbone` are the tables' lines.
fn run(backbone: &str, task: &str, augment: &str) -> Golden {
    let folder = tempfile::tempdir().unwrap();
    let more = format!(
        r#"
seed = 11
deterministic = "require"
[dataset]
type = "coco"
root = "{root}"
train = "annotations/train.json"
[augment]
{augment}
[loader]
batch_size = 2
[backbone]
{backbone}
[task]
{task}
[train]
accumulate_batches = 2
clip_grad_norm = 0.1
[logging]
num_images = 0
"#,
        root = images().join("phantoms").display(),
    );
    let tiny = Tiny::run(folder.path()).without("dataset").without("backbone").with(&more);
    pinned(&["train", &tiny.write().display().to_string()]);
    let run = folder.path().join("run");
    let libtorch = read_json(&run.join("env.json"))["libtorch"].as_str().unwrap().to_owned();
    Golden { libtorch, steps: steps(&run) }
}

/// Losses, gradient norms and the task's own values of each step.
fn steps(run: &Path) -> Vec<BTreeMap<String, Number>> {
    let lines = metrics(run).into_iter().filter(|line| line["split"] == "train");
    let numbers = |line: BTreeMap<String, Value>| {
        line.into_iter()
            .filter(|(name, _)| name != "step")
            .filter_map(|(name, value)| Some((name, Number::new(value.as_f64()?))))
            .collect()
    };
    lines.map(numbers).collect()
}

/// Compares with the committed file, or writes it.
fn check(name: &str, backbone: &str, task: &str, augment: &str) {
    let path = fixture("golden").join(format!("{name}.json"));
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: {} is of x86-64", path.display());
        return;
    }
    let got = run(backbone, task, augment);
    assert_eq!(got.steps.len(), 6);
    if std::env::var_os(WRITE).is_some() {
        let text = serde_json::to_string_pretty(&got).unwrap() + "\n";
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let golden: Golden = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    if golden.libtorch != got.libtorch {
        eprintln!(
            "skipped: {} was made with libtorch {}, this is {}; regenerate it with {WRITE}=1",
            path.display(),
            golden.libtorch,
            got.libtorch
        );
        return;
    }
    if let Some(difference) = difference(&golden.steps, &got.steps) {
        panic!(
            "{name}: {difference}. If the change is meant to change numbers, say so in the commit \
             and regenerate {}: {WRITE}=1 cargo test --test suite golden; if not, it is a bug",
            path.display()
        );
    }
}

/// The first number that differs, in the order of steps and names.
fn difference(
    expected: &[BTreeMap<String, Number>],
    got: &[BTreeMap<String, Number>],
) -> Option<String> {
    if expected.len() != got.len() {
        return Some(format!("expected {} steps, got {}", expected.len(), got.len()));
    }
    for (step, (expected, got)) in expected.iter().zip(got).enumerate() {
        for name in expected.keys().chain(got.keys()) {
            let show = |number: Option<&Number>| {
                number.map_or("none".to_owned(), |n| format!("{} ({})", n.value, n.bits))
            };
            let (expected, got) = (expected.get(name), got.get(name));
            if expected.map(|n| &n.bits) != got.map(|n| &n.bits) {
                return Some(format!(
                    "step {}, `{name}`: expected {}, got {}",
                    step + 1,
                    show(expected),
                    show(got)
                ));
            }
        }
    }
    None
}

const SAM_VIT: &str = "type = \"sam_vit\"\nembed_dim = 32\ndepth = 2\nnum_heads = 2\n\
                       window_size = 2\nglobal_attn_indexes = [1]\nimage_size = 64\n";

#[test]
fn classification_trains_to_the_very_same_losses() {
    let backbone = format!("{SAM_VIT}out_channels = 0");
    check("classification", &backbone, "type = \"classification\"", "");
}

#[test]
fn prompted_segmentation_trains_to_the_very_same_losses() {
    let backbone = format!("{SAM_VIT}out_channels = 32");
    // Dropout 0.1 comes with the convention.
    let task = "type = \"sam_prompt\"\nconvention = \"ultrasam\"\n\
                decoder = { num_heads = 2, mlp_dim = 32 }";
    check("sam_prompt", &backbone, task, "");
}

#[test]
fn instance_segmentation_trains_to_the_very_same_losses() {
    let backbone = "type = \"resnet\"\nbase_channels = 8\nnorm_requires_grad = false";
    let task = "type = \"mask2former\"\nnum_queries = 8\nfeat_channels = 32\nnum_heads = 4\n\
                pixel_decoder = { num_layers = 1, feedforward_channels = 32 }\n\
                transformer_decoder = { num_layers = 3, feedforward_channels = 32 }\n\
                training = { num_points = 128 }";
    check("mask2former", backbone, task, "scale_range = [0.1, 2.0]");
}

#[test]
fn the_first_difference_is_named() {
    let step = |loss: f64| BTreeMap::from([("loss".to_owned(), Number::new(loss))]);
    let (a, b) = ([step(1.0), step(0.5)], [step(1.0), step(0.5_f64.next_up())]);
    assert_eq!(difference(&a, &a), None);
    assert_eq!(
        difference(&a, &b).unwrap(),
        "step 2, `loss`: expected 0.5 (3fe0000000000000), got 0.5000000000000001 (3fe0000000000001)"
    );
    assert_eq!(difference(&a, &a[..1]).unwrap(), "expected 2 steps, got 1");
}
