//! A tiny plain ViT under the three tasks, with each strategy of fine-tuning.

use std::collections::BTreeMap;

use classification as _;
use mask2former as _;
use sam_prompt as _;
use sonotune_base::{error::exit_code, stop::StopFlag};
use sonotune_phantom::PhantomConfig;
use sonotune_run::{ModelSource, TrainOptions, config};
use sonotune_run_folder::Existing;
use sonotune_testing::Tiny;
use sonotune_weights::{addition, open};
use tch::Tensor;
use tempfile::TempDir;

const CLASSIFICATION: &str = "type = \"classification\"";
const SAM_PROMPT: &str = "type = \"sam_prompt\"\ndecoder = { num_heads = 4, mlp_dim = 32 }";
const MASK2FORMER: &str = r#"
type = "mask2former"
num_queries = 5
feat_channels = 32
num_heads = 4
pixel_decoder = { num_layers = 1, feedforward_channels = 32 }
transformer_decoder = { num_layers = 3, feedforward_channels = 32 }
training = { num_points = 64 }
"#;

/// Absolute, rotary and relative positions. A factor of 1e-5 would leave little to move in three steps.
const DINOV2: &str = "variant = \"dinov2\"\nnum_register_tokens = 2\nlayer_scale = 0.5\n";
const DINOV3: &str =
    "variant = \"dinov3\"\nqkv_bias = \"query_value\"\nmlp = \"swiglu\"\nlayer_scale = 0.5\n";
const BEIT: &str = "variant = \"beit\"\n";

const LORA: &str =
    "freeze = \"all\"\nlora = { rank = 2, targets = [\"q\", \"v\", \"proj\", \"mlp\"] }\n";

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let phantoms = PhantomConfig { num_images: 12, image_size: 64, ..PhantomConfig::default() };
        sonotune_phantom::generate(&phantoms, &folder.path().join("data"), false, &|_| ()).unwrap();
        Self { folder }
    }

    fn config(&self, task: &str, backbone: &str, more: &str) -> config::Loaded {
        let tiny = Tiny::run(self.folder.path()).task(task).without("backbone");
        let sizes = "[backbone]\ntype = \"vit\"\nembed_dim = 32\ndepth = 3\nnum_heads = 2\nmlp_dim = 48\npatch_size = 8\nimage_size = 32\n";
        let tiny = tiny.data(&self.folder.path().join("data")).with(&format!("{sizes}{backbone}"));
        let path = tiny.steps(2).with("[loader]\nnum_workers = 1\n").with(more).write();
        config::load(&path, &[]).unwrap_or_else(|error| panic!("{backbone}: {error:#}"))
    }

    /// The last checkpoint of two steps.
    fn train(&self, task: &str, backbone: &str, more: &str) -> Vec<(String, Tensor)> {
        let loaded = self.config(task, backbone, more);
        let options = TrainOptions {
            existing: Existing::Overwrite,
            resume_from: ModelSource::Last,
            changed_data: false,
            stop: StopFlag::default(),
            ranks: Default::default(),
        };
        let trained = sonotune_run::train(&loaded, &options);
        let summary =
            trained.unwrap_or_else(|error| panic!("{task} {backbone}: {error:#}")).summary;
        assert!(!summary.metrics.is_empty(), "{task}");
        let file = open(&self.folder.path().join("run/checkpoints/last.safetensors")).unwrap();
        let names = file.entries().iter().map(|entry| entry.name.clone());
        names.map(|name| (name.clone(), file.read(&name).unwrap())).collect()
    }

    /// Variables of the backbone that had a gradient: the optimiser's mean of it is not zero.
    fn moves(&self, task: &str, backbone: &str, more: &str) -> Vec<String> {
        let checkpoint: BTreeMap<_, _> = self.train(task, backbone, more).into_iter().collect();
        let variables = checkpoint.keys().filter(|name| name.starts_with("backbone."));
        let moved = variables.filter(|variable| {
            let mean = checkpoint.get(&format!("optimizer.exp_avg.{variable}"));
            mean.is_some_and(|mean| mean.abs().max().double_value(&[]) > 0.0)
        });
        moved.map(|name| name.trim_start_matches("backbone.").to_owned()).collect()
    }
}

#[test]
fn every_strategy_trains_what_it_names() {
    let place = Place::new();
    let cache = format!("embedding_cache = {{ dir = {:?} }}", place.folder.path().join("cache"));
    for (backbone, is_first) in [(DINOV2, true), (DINOV3, false), (BEIT, false)] {
        let moves = |keys: &str, more: &str| {
            place.moves(CLASSIFICATION, &format!("{backbone}{keys}"), more)
        };
        let all = moves("", "");
        for part in ["cls_token", "blocks.0.attn.qkv.weight", "blocks.2.ls2.gamma"] {
            assert!(all.iter().any(|name| name == part), "{part} stays: {all:?}");
        }
        if !is_first {
            assert_eq!(moves(LORA, "").len(), 30, "{backbone}");
            continue;
        }
        let last = moves("freeze = 2\n", "");
        assert!(last.len() > 8, "{last:?}");
        let allowed = |name: &String| name.starts_with("blocks.2.") || name.starts_with("norm.");
        assert!(last.iter().all(allowed), "{last:?}");
        assert!(moves("freeze = \"all\"\n", &cache).is_empty());
        for (keys, count) in [(LORA, 30), ("freeze = \"all\"\nadapter = {}\n", 24)] {
            let added = moves(keys, "");
            assert!(added.iter().all(|name| addition(name).is_some()), "{added:?}");
            assert_eq!(added.len(), count, "{backbone}{keys}{added:?}");
        }
    }
}

#[test]
fn the_class_token_and_the_mean_make_one_vector_per_image() {
    let place = Place::new();
    let backbone = format!("{DINOV2}output = \"class_and_mean\"\nfreeze = \"all\"\n");
    let trained = place.train(CLASSIFICATION, &backbone, "");
    let head = trained.iter().find(|(name, _)| name == "head.fc.weight").unwrap();
    assert_eq!(head.1.size()[1], 64);
}

#[test]
fn prompts_and_instances_train_on_a_plain_vit() {
    let place = Place::new();
    let levels = format!("{DINOV2}out_indices = [0, 1, 1, 2]\n");
    for (task, backbone) in
        [(SAM_PROMPT, DINOV2), (SAM_PROMPT, BEIT), (MASK2FORMER, levels.as_str())]
    {
        let all = place.moves(task, backbone, "");
        assert!(all.iter().any(|name| name == "patch_embed.proj.weight"), "{task}: {all:?}");
        let lora = place.moves(task, &format!("{backbone}{LORA}"), "");
        assert!(lora.len() > 20 && lora.iter().all(|name| addition(name).is_some()), "{lora:?}");
    }
}

#[test]
fn a_task_that_needs_a_map_refuses_one_vector_and_says_what_to_set() {
    let place = Place::new();
    for task in [SAM_PROMPT, MASK2FORMER] {
        let loaded = place.config(task, &format!("{DINOV2}output = \"class_token\"\n"), "");
        let categories = vec![sonotune_base::Category { id: 1, name: "lesion".to_owned() }];
        let error = sonotune_run::Model::build(&loaded.config, tch::Device::Cpu, categories);
        let error = error.unwrap_err();
        assert_eq!(exit_code(&error), 2);
        assert!(error.to_string().contains("output = \"patch_tokens\""), "{error:#}");
    }
}
