//! Training with part of the model frozen: from cached embeddings, with LoRA, with adapters; and what
//! is saved of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    time::SystemTime,
};

use tempfile::TempDir;

fn phantoms() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("phantoms").display().to_string();
            let args = ["data", "phantom", &out, "--num-images", "24", "--image-size", "64"];
            assert_success(&sonotune(&args));
            folder
        })
        .path()
}

fn sonotune(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sonotune")).args(args).output().unwrap()
}

#[track_caller]
fn assert_success(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

/// A config of a tiny classifier on a ViT with a neck.
fn write_config(folder: &Path) -> PathBuf {
    let text = format!(
        r#"
seed = 3
device = "cpu"
run_dir = "{run}"
[dataset]
type = "coco"
root = "{root}"
train = "annotations/train.json"
val = "annotations/val.json"
test = "annotations/test.json"
[preprocess]
image_size = 64
[augment]
flip_probability = 0.5
[loader]
batch_size = 4
num_workers = 2
[backbone]
type = "sam_vit"
embed_dim = 32
depth = 2
num_heads = 2
mlp_dim = 64
window_size = 3
global_attn_indexes = [1]
image_size = 64
out_channels = 16
[task]
type = "classification"
[optimizer]
lr = 1e-2
[train]
max_steps = 10
[evaluation]
every_steps = 5
best_metric = "f1"
[logging]
every_steps = 1
num_images = 1
"#,
        run = folder.join("run").display(),
        root = phantoms().join("phantoms").display(),
    );
    let path = folder.join("config.toml");
    fs::write(&path, text).unwrap();
    path
}

/// A folder, its config, and runs by name.
struct Place {
    folder: TempDir,
    config: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(folder.path());
        Self { folder, config }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn train(&self, name: &str, more: &[&str]) -> Output {
        let config = self.config.display().to_string();
        let run_dir = format!("run_dir={}", self.path(name));
        sonotune(&[&["train", &config, &run_dir], more].concat())
    }

    fn checkpoint(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name).join("checkpoints/last.safetensors")).unwrap()
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name).join("train.log")).unwrap()
    }

    /// Loss, gradient norm and metrics of each line of `metrics.jsonl`.
    fn values(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(name).join("metrics.jsonl")).unwrap();
        let mut values = Vec::new();
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            for (key, value) in line.as_object().unwrap() {
                if !key.contains("time") && !key.contains("memory") {
                    values.push(format!("{} {key} {value}", line["step"]));
                }
            }
        }
        values
    }

    fn cache(&self, more: &str) -> String {
        format!("embedding_cache={{dir=\"{}\"{more}}}", self.path("cache"))
    }

    fn cached(&self) -> Vec<(PathBuf, SystemTime)> {
        let mut files = Vec::new();
        for folder in fs::read_dir(self.path("cache")).unwrap() {
            for file in fs::read_dir(folder.unwrap().path()).unwrap() {
                let file = file.unwrap();
                files.push((file.path(), file.metadata().unwrap().modified().unwrap()));
            }
        }
        files.sort();
        files
    }
}

const FROZEN: &str = "backbone.freeze=all";

#[test]
fn training_from_cached_embeddings_equals_training_with_the_frozen_backbone() {
    let place = Place::new();
    assert_success(&place.train("plain", &[FROZEN]));
    assert_success(&place.train("cached", &[FROZEN, &place.cache("")]));
    assert!(place.checkpoint("plain") == place.checkpoint("cached"));
    assert_eq!(place.values("plain"), place.values("cached"));
    assert!(place.values("cached").len() > 30);

    // A second run computes nothing; one that stops half way goes on to the same.
    let files = place.cached();
    assert_success(&place.train("resumed", &[FROZEN, &place.cache(""), "train.max_steps=6"]));
    assert_success(&sonotune(&["train", "--resume", &place.path("resumed"), "train.max_steps=10"]));
    assert!(place.checkpoint("plain") == place.checkpoint("resumed"));
    assert_eq!(place.cached(), files);
    assert!(place.log("resumed").contains("0 computed"), "{}", place.log("resumed"));

    // The comparison can fail: rounded embeddings lead elsewhere, and take half the space.
    assert_success(&place.train("rounded", &[FROZEN, &place.cache(", dtype=\"bf16\"")]));
    assert!(place.checkpoint("plain") != place.checkpoint("rounded"));
    assert_eq!(place.cached().len(), 2 * files.len());
}

#[test]
fn pixels_are_not_read_from_cached_embeddings_and_damage_is_mended() {
    let place = Place::new();
    let cache = place.cache("");
    assert_success(&place.train("first", &[FROZEN, &cache]));
    let files = place.cached();
    // Cut one, change a byte of another, take a third away.
    let mut bytes = fs::read(&files[0].0).unwrap();
    fs::write(&files[0].0, &bytes[..bytes.len() / 2]).unwrap();
    bytes = fs::read(&files[1].0).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 64;
    fs::write(&files[1].0, bytes).unwrap();
    fs::remove_file(&files[2].0).unwrap();
    assert_success(&place.train("second", &[FROZEN, &cache]));
    assert!(place.checkpoint("first") == place.checkpoint("second"));
    let log = place.log("second");
    assert_eq!(log.matches("is damaged").count(), 2, "{log}");
    assert!(log.contains("3 computed"), "{log}");
    let names = |files: &[(PathBuf, SystemTime)]| {
        files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&place.cached()), names(&files));

    // Other weights, other embeddings.
    assert_success(&place.train("other", &[FROZEN, &cache, "seed=4"]));
    assert!(place.log("other").contains(&format!("{} computed", files.len())));
    assert_eq!(place.cached().len(), 2 * files.len());
}

#[test]
fn a_cache_is_refused_where_its_embeddings_would_not_hold() {
    let place = Place::new();
    let cache = place.cache("");
    let refused = |more: &[&str], parts: &[&str]| {
        let all = [&[cache.as_str()], more].concat();
        assert_fails(&place.train("run", &all), 2, parts);
        assert!(!Path::new(&place.path("run")).exists());
    };
    refused(&[], &["embedding_cache", "`backbone.blocks.0.attn.proj.bias`", "freeze"]);
    refused(&[FROZEN, "backbone.lora={}"], &["lora_A"]);
    refused(&[FROZEN, "preprocess.eval_pad_to=multiple"], &["multiple", "square"]);
}
