//! Images with discs as objects, the losses of a training step on them, and overfitting on real images.

use std::path::Path;

use sonotune_base::{ImageId, Rle, Segmentation};
use sonotune_dataset::{Object, Record};
use sonotune_engine::task::StepOutput;
use tch::Tensor;

use crate::support::shared;

/// A disc with the given centre and radius, or nothing if the radius is 0.
pub(crate) fn disc((x, y): (i32, i32), radius: i32, side: u32) -> Object {
    let pixels: Vec<u8> = (0..side as i32 * side as i32)
        .map(|i| {
            let (dx, dy) = (i % side as i32 - x, i / side as i32 - y);
            u8::from(dx * dx + dy * dy < radius * radius)
        })
        .collect();
    let rle = Rle::from_mask(&pixels, (side, side)).unwrap();
    Object {
        category: 0,
        bbox: rle.bbox(),
        area: rle.area() as f64,
        is_crowd: false,
        segmentation: Segmentation::Runs(rle),
    }
}

pub(crate) fn record(folder: &Path, name: &str, side: u32, objects: Vec<Object>) -> Record {
    let path = folder.join(name);
    image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x * 3 + y * 2) as u8]))
        .save(&path)
        .unwrap();
    Record {
        image_id: ImageId::from(name),
        path,
        size: Some((side, side)),
        image_labels: vec![],
        objects,
        prompts: None,
        values: Default::default(),
    }
}

pub(crate) fn scalar(output: &StepOutput, name: &str) -> f64 {
    let found = output.scalars.iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("no scalar {name}")).1.double_value(&[])
}

pub(crate) fn total(output: &StepOutput) -> Tensor {
    output.losses.iter().map(|l| &l.value * l.weight).reduce(|a, b| a + b).unwrap()
}

/// A metric after training on ten real images and scoring on the same ones; `None`, with the reason
/// printed, if that cannot be run. `config` adds loader, task, training and evaluation.
pub(crate) fn overfitted(config: &str, metric: &str) -> Option<f64> {
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
        stop: sonotune_base::stop::StopFlag::default(),
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
