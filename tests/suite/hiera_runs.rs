//! Complete runs on SAM 2's image encoder: every task, by every way of fine-tuning.

use std::{fs, path::Path};

use rehearsal::Device;
use sonotune_testing::{Tiny, assert_success};

use crate::{
    cuda_support::{on, on_cuda},
    support::{self, CLASSIFICATION, assert_fails, last, phantoms},
};

/// Stage outputs or the neck's levels, by the number of channels. Narrower, the matrix products of the last stage's
/// four tokens would round by an image's place in the batch, and embeddings from disk not equal computed ones to
/// the bit.
const HIERA: &str = r#"
[dataset]
test = "annotations/test.json"
[backbone]
type = "hiera"
embed_dim = 16
num_heads = 1
stages = [1, 1, 2, 1]
global_att_blocks = [3]
window_spec = [4, 2, 6, 3]
window_pos_embed_bkg_spatial_size = [3, 3]
[logging]
num_images = 0
"#;

const PROMPTS: &str = r#"type = "sam_prompt"
convention = "sam2"
decoder = { num_heads = 2, mlp_dim = 32 }
evaluation = { postprocess = "direct", multimask = "ambiguous" }"#;

/// Takes the stages as they are: four levels of their own widths.
const MASK2FORMER: &str = r#"type = "mask2former"
num_queries = 8
feat_channels = 32
num_heads = 4
pixel_decoder = { num_layers = 1, feedforward_channels = 32 }
transformer_decoder = { num_layers = 2, feedforward_channels = 32 }
training = { num_points = 64 }"#;

fn tiny(folder: &Path, task: &str) -> Tiny {
    let channels = if task == PROMPTS { 32 } else { 0 };
    let size_rule = if task == PROMPTS { "stretch" } else { "round" };
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).task(task).steps(2);
    let tiny = tiny.without("backbone").with(HIERA);
    tiny.set(&format!("backbone.out_channels = {channels}"))
        .set(&format!("preprocess.size_rule = \"{size_rule}\""))
}

const FROZEN: &str = "backbone.freeze=all";

fn every_way_of_finetuning(task: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path(), task).write();
    let at = |name: &str| folder.path().join(name);
    let train = |name: &str, more: &[&str]| {
        assert_success(&support::train(&config, &at(name), more));
        last(&at(name))
    };
    assert_ne!(train("full", &[]), train("first_blocks", &["backbone.freeze=2"]));

    // From embeddings on disk the same as through the frozen backbone.
    let cache = format!("embedding_cache={{dir=\"{}\"}}", at("cache").display());
    let frozen = train("frozen", &[FROZEN]);
    assert!(frozen == train("cached", &[FROZEN, &cache]));
    assert!(fs::read_dir(at("cache")).unwrap().count() > 0);

    let added = [FROZEN, "backbone.lora={rank=2}", "backbone.adapter={}"];
    let recomputed = [&added[..], &["backbone.activation_checkpointing=true"]].concat();
    assert_ne!(train("added", &recomputed), frozen);
}

#[test]
fn classification_trains_on_hiera_in_every_way() {
    every_way_of_finetuning(CLASSIFICATION);
}

#[test]
fn instance_segmentation_trains_on_hiera_in_every_way() {
    every_way_of_finetuning(MASK2FORMER);
}

#[test]
fn prompted_segmentation_trains_on_hiera_in_every_way() {
    every_way_of_finetuning(PROMPTS);
}

#[test]
fn sam2_runs_on_cuda() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny(folder.path(), PROMPTS).set("device = \"cuda\"");
    on_cuda(&["train", &tiny.write().display().to_string()]);
    let run = folder.path().join("run").display().to_string();
    on_cuda(&["eval", "--run", &run, "--split", "test"]);

    // The position embedding is interpolated to every input size, which CUDA cannot undo in a fixed order.
    let config = tiny.set("deterministic = \"require\"").write().display().to_string();
    let (output, _) = on(&Device::new(), &["train", &config, "--overwrite"]);
    assert_fails(&output, 2, &["deterministic", "upsample_bicubic2d_backward"]);
    on_cuda(&["train", &config, "--overwrite", "backbone.freeze=[\"trunk.pos_embed\"]"]);
}

/// A checkpoint keeps the way its decoder is used; another backbone cannot have that decoder.
#[test]
fn weights_decide_for_sam2_s_decoder_and_other_backbones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path(), PROMPTS).write();
    let first = folder.path().join("first");
    assert_success(&support::train(&config, &first, &["train.max_steps=1"]));
    let weights = format!("weights.path={}", first.join("checkpoints/last.safetensors").display());
    let second = folder.path().join("second");
    let open = ["task.convention=auto", weights.as_str(), "train.max_steps=1"];
    assert_success(&support::train(&config, &second, &open));
    let resolved = fs::read_to_string(second.join("config.toml")).unwrap();
    assert!(resolved.contains("convention = \"sam2\""), "{resolved}");

    let without_neck = ["backbone.out_channels=0"];
    let refused = support::train(&config, &folder.path().join("refused"), &without_neck);
    assert_fails(&refused, 2, &["task.convention = \"sam2\"", "stride 32", "out_channels = 256"]);
}
