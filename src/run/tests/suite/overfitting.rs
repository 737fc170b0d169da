//! Overfitting on real images: what a task can learn, it learns by heart.

use mask2former as _;
use sam_prompt as _;
use sonotune_testing::shared;

/// A metric after training on ten real images and scoring on the same ones; `None`, with the reason
/// printed, if that cannot be run. `config` adds loader, task, training and evaluation.
fn overfitted(config: &str, metric: &str) -> Option<f64> {
    if std::env::var_os("SONOTUNE_LONG_TESTS").is_none() {
        eprintln!("skipped: overfitting takes minutes (set SONOTUNE_LONG_TESTS=1)");
        return None;
    }
    let data = shared("data/mmotu2d-sample")?;
    let folder = tempfile::tempdir().unwrap();
    let text = TEN_IMAGES
        .replace("DATA", data.to_str().unwrap())
        .replace("RUN", folder.path().join("run").to_str().unwrap());
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text + config).unwrap();
    let loaded = sonotune_run::config::load(&path, &[]).unwrap();
    let options = sonotune_run::TrainOptions {
        existing: sonotune_run_folder::Existing::Refuse,
        resume_from: sonotune_run::ModelSource::Last,
        changed_data: false,
        stop: sonotune_base::stop::StopFlag::default(),
        ranks: Default::default(),
    };
    let metrics = sonotune_run::train(&loaded, &options).unwrap().summary.metrics;
    Some(metrics.iter().find(|m| m.name == metric).unwrap().value)
}

const TEN_IMAGES: &str = r#"
run_dir = "RUN"

[dataset]
type = "coco"
root = "DATA"
images = "images"
train = "annotations.json"
val = "annotations.json"

[preprocess]
image_size = 256

[backbone]
type = "sam_vit"
embed_dim = 96
depth = 4
num_heads = 3
global_attn_indexes = [1, 3]
window_size = 8
image_size = 256
patch_size = 16
out_channels = 96

[optimizer]
lr = 1e-3

[schedule]
type = "cosine"
warmup = { steps = 20 }
"#;

/// Takes minutes on two cores.
#[test]
fn ten_real_images_can_be_overfitted() {
    let Some(value) = overfitted(SAM_PROMPT, "box/segm_mAP") else { return };
    // Measured 0.92, limited by masks of 64² on images of up to 959 pixels.
    assert!(value > 0.9, "{value}");
}

const SAM_PROMPT: &str = r#"
[loader]
batch_size = 10

[task]
type = "sam_prompt"
convention = "ultrasam"
decoder = { num_heads = 4, mlp_dim = 256, dropout = 0.0 }

[train]
max_steps = 500
clip_grad_norm = 1.0

[evaluation]
best_metric = "box/segm_mAP"
"#;

/// Takes a minute on two cores.
#[test]
fn ten_real_images_can_be_segmented_by_heart() {
    let Some(value) = overfitted(MASK2FORMER, "segm_mAP_50") else { return };
    assert!(value > 0.9, "{value}");
}

const MASK2FORMER: &str = r#"
[loader]
batch_size = 5

[task]
type = "mask2former"
num_queries = 10
feat_channels = 64
num_heads = 4
neck = "simple_feature_pyramid"
pixel_decoder = { num_layers = 2, feedforward_channels = 128 }
transformer_decoder = { num_layers = 3, feedforward_channels = 128 }

[task.training]
num_points = 1024

[train]
max_steps = 200
clip_grad_norm = 1.0

[evaluation]
best_metric = "segm_mAP_50"
"#;
