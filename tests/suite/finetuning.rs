//! Training with part of the model frozen: from cached embeddings, with LoRA, with adapters; and which
//! weights are saved.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::SystemTime,
};

use sonotune_dataset::Split;
use sonotune_engine::loader::{LoadPlan, prepare_batch};
use sonotune_run::{
    Model, ModelSource,
    config::{self, Loaded},
};
use sonotune_testing::Tiny;
use sonotune_weights as weights;
use tch::{Device, Tensor, no_grad};
use tempfile::TempDir;

use crate::support::{
    self, assert_contains, assert_fails, assert_success, json, metrics, phantoms, read_json,
    resume, sonotune,
};

/// A config of a tiny classifier on a ViT with a neck.
fn write_config(folder: &Path) -> PathBuf {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).steps(10);
    tiny.task("type = \"classification\"").set("optimizer.lr=1e-2").with(CONFIG).write()
}

const CONFIG: &str = r#"
[dataset]
test = "annotations/test.json"
[backbone]
mlp_dim = 64
window_size = 3
out_channels = 16
[evaluation]
every_steps = 5
best_metric = "f1"
[logging]
num_images = 1
"#;

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
        support::train(&self.config, &self.folder.path().join(name), more)
    }

    fn checkpoint(&self, name: &str) -> Vec<u8> {
        support::last(&self.folder.path().join(name))
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name).join("train.log")).unwrap()
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
    let metrics = |name: &str| metrics(&place.folder.path().join(name));
    assert_eq!(metrics("plain"), metrics("cached"));
    assert!(metrics("cached").iter().map(BTreeMap::len).sum::<usize>() > 30);

    // A second run computes nothing; one that stops half way continues to the same result.
    let files = place.cached();
    let dry = ["train", &place.config.display().to_string(), "--dry-run", "--json"];
    let dry = json(&sonotune(&[&dry[..], &[FROZEN, &place.cache("")]].concat()));
    assert_eq!(dry["embeddings"]["num_images"], files.len());
    assert_success(&place.train("resumed", &[FROZEN, &place.cache(""), "train.max_steps=6"]));
    assert_success(&resume(&place.folder.path().join("resumed"), &["train.max_steps=10"]));
    assert!(place.checkpoint("plain") == place.checkpoint("resumed"));
    assert_eq!(place.cached(), files);
    assert!(place.log("resumed").contains("0 computed"), "{}", place.log("resumed"));

    // The comparison can fail: rounded embeddings lead elsewhere, and take half the space.
    assert_success(&place.train("rounded", &[FROZEN, &place.cache(", dtype=\"bf16\"")]));
    assert!(place.checkpoint("plain") != place.checkpoint("rounded"));
    assert_eq!(place.cached().len(), 2 * files.len());
}

/// The program rather than a call: attention's kernels are chosen for a whole process, and runs that share
/// one with other tests' may round differently.
#[test]
fn one_vector_per_image_is_classified_from_the_cache_as_without() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::run(folder.path()).task("type = \"classification\"").without("backbone");
    let config = tiny.data(&phantoms().join("phantoms")).steps(2).with(VECTOR).write();
    let run = |name: &str| folder.path().join(name);
    let cache = format!("embedding_cache={{dir={:?}}}", run("cache"));
    assert_success(&support::train(&config, &run("plain"), &[]));
    assert_success(&support::train(&config, &run("cached"), &[&cache]));
    assert!(support::last(&run("plain")) == support::last(&run("cached")));
}

const VECTOR: &str = r#"
[backbone]
type = "vit"
variant = "dinov2"
num_register_tokens = 2
layer_scale = 0.5
embed_dim = 32
depth = 3
num_heads = 2
mlp_dim = 48
patch_size = 8
image_size = 32
output = "class_and_mean"
freeze = "all"
"#;

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

const LORA: &str = "backbone.lora={rank=2, alpha=3.0, targets=[\"q\", \"v\", \"mlp\"]}";
const ADAPTER: &str = "backbone.adapter={}";

impl Place {
    /// A short run whose last checkpoint serves as pretrained weights.
    fn pretrained(&self) -> String {
        let run = self.folder.path().join("pretrained");
        if !run.exists() {
            assert_success(&self.train("pretrained", &["train.max_steps=3"]));
        }
        self.path("pretrained/checkpoints/last.safetensors")
    }

    /// A run on top of [`pretrained`](Self::pretrained), with its own head.
    fn finetune(&self, name: &str, more: &[&str]) -> Output {
        let weights = format!("weights={{path=\"{}\", ignore=[\"head.*\"]}}", self.pretrained());
        self.train(name, &[&[weights.as_str(), FROZEN], more].concat())
    }

    fn export(&self, run: &str, out: &str, more: &[&str]) -> Output {
        let (run, out) = (self.path(run), self.path(out));
        sonotune(&[&["weights", "export", &run, &out], more].concat())
    }

    /// The config with changes, opened.
    fn loaded(&self, overrides: &[&str]) -> Loaded {
        let overrides: Vec<_> = overrides.iter().map(ToString::to_string).collect();
        config::load(&self.config, &overrides).unwrap()
    }
}

fn variables(file: &str) -> Vec<(String, Tensor)> {
    let file = weights::open(Path::new(file)).unwrap();
    let names = file.entries().iter().map(|entry| entry.name.clone());
    let mut all: Vec<_> = names
        .filter(|name| !name.starts_with("optimizer."))
        .map(|name| (name.clone(), file.read(&name).unwrap()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Asserts that the pretrained model of a config has these variables and no others.
#[track_caller]
fn assert_opens(loaded: &Loaded, expected: &[(String, Tensor)]) {
    let categories = loaded.config.dataset().unwrap().open(Split::Val).unwrap().categories;
    let source = ModelSource::Pretrained;
    let opened = Model::open(&loaded.config, Device::Cpu, &source, &categories).unwrap();
    let variables = opened.model.vs.variables();
    assert_eq!(variables.len(), expected.len());
    for (name, want) in expected {
        assert!(variables[name].equal(want), "{name}");
    }
}

/// Scores of all validation images.
fn scores(loaded: &Loaded, source: &ModelSource) -> Vec<f64> {
    let config = &loaded.config;
    let dataset = config.dataset().unwrap().open(Split::Val).unwrap();
    let opened = Model::open(config, Device::Cpu, source, &dataset.categories).unwrap();
    let plan = LoadPlan {
        preprocess: config.preprocess.clone(),
        augment: config.augment.clone(),
        loader: config.loader.clone(),
        spec: opened.model.spec.input.clone(),
        needs: opened.model.task.needs(),
        seed: 0,
        embeddings: None,
        pixels: Default::default(),
        preparation: None,
        reader: Default::default(),
        share: Default::default(),
    };
    let batch = prepare_batch(&dataset.records, &plan).unwrap();
    let predictions = no_grad(|| opened.model.task.predict(&batch)).unwrap();
    predictions.into_iter().flat_map(|prediction| prediction.scores).collect()
}

#[test]
fn what_trained_is_saved_alone_and_lies_on_its_base_to_the_bit() {
    let place = Place::new();
    assert_success(&place.finetune("lora", &[LORA]));
    let log = place.log("lora");
    assert!(log.contains("new in this model 16 variables of LoRA"), "{log}");
    assert!(log.contains("ignored     head.* (2)"), "{log}");
    assert_success(&place.export("lora", "lora.safetensors", &["--trained-only"]));
    let again = place.export("lora", "lora.safetensors", &["--trained-only"]);
    assert_fails(&again, 4, &["--overwrite"]);

    let file = place.path("lora.safetensors");
    let names: Vec<_> = variables(&file).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 16 + 2);
    assert!(names.iter().all(|n| n.starts_with("head.") || n.contains(".lora_")), "{names:?}");

    // Base and overlay together equal the checkpoint: the best one, of step 5 or 10.
    let weights = format!("weights={{path=\"{}\", overlay=\"{file}\"}}", place.pretrained());
    let expected = variables(&place.path("lora/checkpoints/best.safetensors"));
    assert_opens(&place.loaded(&[FROZEN, LORA, &weights]), &expected);

    // A run that starts there records it, and exports all of it.
    assert_success(&place.train("again", &[FROZEN, LORA, &weights, "train.max_steps=1"]));
    assert!(place.log("again").contains("overlay     18 of them"), "{}", place.log("again"));
    assert_success(&place.export("again", "again.safetensors", &["--trained-only"]));
    assert_eq!(variables(&place.path("again.safetensors")).len(), 18);
}

/// Variables from files other than the base are exported with those that trained, so that base and
/// overlay together are the model.
#[test]
fn a_run_on_weights_of_two_files_records_both_and_lies_on_its_base_alone() {
    let place = Place::new();
    let base = place.pretrained();
    assert_success(&place.train("other", &["train.max_steps=3", "seed=9"]));
    let other = place.path("other/checkpoints/last.safetensors");
    let both = format!(
        "weights={{path=\"{base}\", parts=[{{path=\"{other}\", variables=[\"backbone.neck.*\", \
         \"head.*\"]}}]}}"
    );
    assert_success(&place.train("both", &[FROZEN, LORA, &both]));
    let given = ["gives       backbone.neck.*, head.*", "left        backbone.* (6), head.* (2)"];
    assert_contains(&place.log("both"), &[&[base.as_str(), &other], &given[..]].concat());
    let record = read_json(&place.folder.path().join("both/weights.json"));
    assert_eq!(record["path"], base.as_str());
    assert_eq!(record["parts"][0]["path"], other.as_str());
    assert_eq!(record["parts"][0]["loaded"].as_array().unwrap().len(), 6 + 2);
    let pretrained = scores(&place.loaded(&[&both]), &ModelSource::Pretrained);
    let alone = format!("weights={{path=\"{base}\"}}");
    assert_ne!(pretrained, scores(&place.loaded(&[&alone]), &ModelSource::Pretrained));

    assert_success(&place.export("both", "both.safetensors", &["--trained-only"]));
    let file = place.path("both.safetensors");
    // LoRA, neck and head.
    assert_eq!(variables(&file).len(), 16 + 6 + 2);
    let expected = variables(&place.path("both/checkpoints/best.safetensors"));
    // With or without the part in the config.
    let with_part = both.replacen(", parts", &format!(", overlay=\"{file}\", parts"), 1);
    for weights in [format!("weights={{path=\"{base}\", overlay=\"{file}\"}}"), with_part] {
        assert_opens(&place.loaded(&[FROZEN, LORA, &weights]), &expected);
    }

    // The record of an evaluation names every file.
    let config = place.config.display().to_string();
    let record = json(&sonotune(&["eval", "--config", &config, "--split", "val", "--json", &both]));
    assert_eq!(record["checkpoint"], base.as_str());
    assert_eq!(record["beside"][0], other.as_str());
}

#[test]
fn an_overlay_is_refused_where_it_does_not_belong() {
    let place = Place::new();
    assert_success(&place.finetune("lora", &[LORA, "train.max_steps=1"]));
    assert_success(&place.export("lora", "lora.safetensors", &["--trained-only"]));
    let file = place.path("lora.safetensors");
    let base = place.pretrained();
    let on = |base: &str| format!("weights={{path=\"{base}\", overlay=\"{file}\"}}");
    let refused = |more: &[&str], code, parts: &[&str]| {
        assert_fails(&place.train("refused", more), code, parts);
    };
    // With another scale, with another base, as its own base, and a base as an overlay.
    let other_alpha = LORA.replace("3.0", "4.0");
    refused(&[FROZEN, &other_alpha, &on(&base)], 2, &["backbone.lora", "4.0", "3.0"]);
    assert_success(&place.train("other", &["train.max_steps=1", "seed=9"]));
    let other = place.path("other/checkpoints/last.safetensors");
    refused(&[FROZEN, LORA, &on(&other)], 4, &["last.safetensors", "SHA-256"]);
    let alone = format!("weights={{path=\"{file}\"}}");
    refused(&[FROZEN, LORA, &alone], 4, &["weights.overlay", "last.safetensors"]);
    let base_twice = format!("weights={{path=\"{base}\", overlay=\"{base}\"}}");
    refused(&[FROZEN, LORA, &base_twice], 4, &["is not an overlay", "--trained-only"]);

    // The base has changed since.
    fs::copy(&other, &base).unwrap();
    let export = place.export("lora", "late.safetensors", &["--trained-only"]);
    assert_fails(&export, 4, &["is frozen, but differs", "has changed"]);
    assert_fails(
        &place.export("other", "other.safetensors", &["--trained-only"]),
        2,
        &["did not start from pretrained weights", "--merge"],
    );
}

#[test]
fn a_merged_model_scores_as_the_unmerged_one_and_bears_upstream_s_names() {
    let place = Place::new();
    assert_success(&place.finetune("lora", &[LORA]));
    assert_success(&place.export("lora", "merged.pth", &["--merge"]));
    let best = ModelSource::File(place.path("lora/checkpoints/best.safetensors").into());
    let unmerged = scores(&place.loaded(&[FROZEN, LORA]), &best);
    let weights = format!("weights={{path=\"{}\"}}", place.path("merged.pth"));
    let merged = scores(&place.loaded(&[&weights]), &ModelSource::Pretrained);
    let pretrained = format!("weights={{path=\"{}\"}}", place.pretrained());
    let before = scores(&place.loaded(&[&pretrained]), &ModelSource::Pretrained);
    assert_eq!(merged.len(), unmerged.len());
    let apart =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart(&merged, &unmerged) < 1e-5, "{}", apart(&merged, &unmerged));
    assert!(apart(&before, &unmerged) > 1e-3, "training changed nothing");

    let upstream = ["--merge", "--to", "segment_anything", "--drop", "head.*"];
    assert_success(&place.export("lora", "encoder.pth", &upstream));
    let names = variables(&place.path("encoder.pth"));
    assert_eq!(names.len(), 3 + 2 * 14 + 6);
    assert!(names.iter().all(|(name, _)| name.starts_with("image_encoder.")));
    // Without merging, upstream would read the pretrained weights and nothing else.
    let checkpoint = place.path("lora/checkpoints/last.safetensors");
    let out = place.path("convert.pth");
    let convert = ["weights", "convert", &checkpoint, &out, "--to", "segment_anything"];
    assert_fails(&sonotune(&convert), 4, &["LoRA", "weights export", "--merge"]);
}

#[test]
fn adapters_are_written_whole_or_alone_but_not_under_upstream_s_names() {
    let place = Place::new();
    assert_success(&place.finetune("adapter", &[ADAPTER, "train.max_steps=2"]));
    assert!(place.log("adapter").contains("16 variables of adapters"));
    assert_success(&place.export("adapter", "alone.safetensors", &["--trained-only"]));
    assert_eq!(variables(&place.path("alone.safetensors")).len(), 16 + 2);
    let last = place.path("adapter/checkpoints/best.safetensors");
    assert_success(&place.export("adapter", "whole.safetensors", &["--merge"]));
    let (whole, expected) = (variables(&place.path("whole.safetensors")), variables(&last));
    assert_eq!(whole.len(), expected.len());
    assert!(whole.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && a.1.equal(&b.1)));
    let upstream = ["--merge", "--to", "segment_anything", "--drop", "head.*"];
    assert_fails(&place.export("adapter", "x.pth", &upstream), 4, &["adapters", "not linear"]);
    assert_fails(
        &sonotune(&["weights", "export", &place.path("alone.safetensors"), "y.pth", "--merge"]),
        2,
        &["neither a run folder"],
    );
}
