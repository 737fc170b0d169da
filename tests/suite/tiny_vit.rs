//! A tiny TinyViT under the three tasks: everything trained, frozen with cached embeddings, LoRA, adapters.

use std::path::{Path, PathBuf};

use sonotune_testing::Tiny;

use crate::support::{
    self, assert_fails, assert_success, eval, last, metrics, phantoms, resume, sonotune,
};

/// A model of `task` on 64² images; `backbone` has further keys.
fn write_config(folder: &Path, task: &str, backbone: &str) -> PathBuf {
    let tiny = Tiny::run(folder).without("backbone").data(&phantoms().join("phantoms")).steps(4);
    tiny.task(task).with(CONFIG).with(&format!("[backbone]\n{backbone}")).write()
}

/// As LiteMedSAM: patches of one pixel, values from 0 to 1.
const CONFIG: &str = r#"
[preprocess]
normalize = "min_max"
[backbone]
type = "tiny_vit"
embed_dims = [8, 16, 16, 32]
depths = [1, 1, 1, 1]
num_heads = [1, 2, 2, 4]
window_sizes = [7, 7, 7, 7]
patch_size = 1
"#;

const CLASSIFICATION: &str = "type = \"classification\"";
const PROMPTS: &str = r#"
type = "sam_prompt"
decoder = { depth = 1, mlp_dim = 64 }
evaluation = { multimask = "never", protocols = ["box"] }
"#;
const MASK2FORMER: &str = r#"
type = "mask2former"
num_queries = 8
feat_channels = 32
num_heads = 4
pixel_decoder = { num_layers = 1, feedforward_channels = 32 }
transformer_decoder = { num_layers = 3, feedforward_channels = 32 }
training = { num_points = 128 }
"#;

fn train(config: &Path, run: &Path, more: &[&str]) {
    assert_success(&support::train(config, run, more));
}

#[test]
fn cached_embeddings_of_prompts_equal_the_frozen_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), PROMPTS, "freeze = \"all\"");
    let run = |name: &str| folder.path().join(name);
    let cache = format!("embedding_cache={{dir={:?}}}", run("cache"));
    train(&config, &run("plain"), &[]);
    train(&config, &run("cached"), &[&cache]);
    assert!(last(&run("plain")) == last(&run("cached")));
    // A different range of pixel values is another embedding.
    train(&config, &run("mean"), &[&cache, "preprocess.normalize=mean_std"]);
    assert!(last(&run("plain")) != last(&run("mean")));
    let conditions = eval(&run("cached"), "val")["report"]["conditions"].to_string();
    assert!(conditions.contains("[\"multimask\",\"Never\"]"), "{conditions}");
}

#[test]
fn additions_train_and_merge() {
    let folder = tempfile::tempdir().unwrap();
    let extra = "freeze = \"all\"\nlora = { targets = [\"q\", \"v\", \"mlp\"] }\nactivation_checkpointing = true";
    let config = write_config(folder.path(), PROMPTS, extra);
    let run = folder.path().join("lora");
    train(&config, &run, &[]);
    let merged = folder.path().join("merged.safetensors").display().to_string();
    let shown = run.display().to_string();
    assert_success(&sonotune(&["weights", "export", &shown, &merged, "--merge"]));
    let inspected = sonotune(&["weights", "inspect", &merged]);
    assert_success(&inspected);
    let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
    assert!(text.contains("attention_biases") && !text.contains("lora_"), "{text}");

    let config = write_config(folder.path(), CLASSIFICATION, "freeze = \"all\"\nadapter = {}");
    train(&config, &folder.path().join("adapter"), &[]);
}

#[test]
fn every_stage_feeds_mask2former_and_statistics_of_batches_resume() {
    let folder = tempfile::tempdir().unwrap();
    let levels = "out_channels = 0\nout_indices = [0, 1, 2, 3]";
    let run = |name: &str| folder.path().join(name);
    // Levels of 4, 8, 16 and 32 pixels, as a pyramid has them.
    let pyramid =
        format!("{levels}\npatch_size = 4\nlast_merging_halves = true\nnorm_eval = false");
    let config = write_config(folder.path(), MASK2FORMER, &pyramid);
    train(&config, &run("through"), &[]);
    train(&config, &run("resumed"), &["train.max_steps=2"]);
    assert_success(&resume(&run("resumed"), &["train.max_steps=4"]));
    assert!(last(&run("through")) == last(&run("resumed")));
    train(&config, &run("stored"), &["backbone.norm_eval=true"]);
    assert!(last(&run("through")) != last(&run("stored")));
    assert!(metrics(&run("through")).len() > 3);

    let two = support::train(&config, &run("two"), &["--processes", "2"]);
    assert_fails(&two, 2, &["backbone.norm_eval", "processes", "norm_eval = true"]);
}

#[test]
fn the_first_stages_stay_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), CLASSIFICATION, "freeze = 2");
    train(&config, &folder.path().join("run"), &[]);
    let config = write_config(folder.path(), CLASSIFICATION, "freeze = 5");
    let refused = support::train(&config, &folder.path().join("refused"), &[]);
    assert_fails(&refused, 2, &["backbone.freeze = 5", "4 blocks"]);
}
