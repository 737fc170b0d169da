//! Mask2Former on a ResNet-50 at 512²: training steps with one object and with twenty, and an image's
//! hundred masks. The protocol is that of `benches/peers/README.md`.

#[path = "support/measure.rs"]
mod measure;

use anyhow::{Context, Result};
use mask2former::{
    head::LayerOutput,
    matcher::{MatchCosts, Objects, assign, match_costs},
    points::{PointRules, Stream, uniform},
};
use measure::Case;
use serde_json::{self, Value, json};
use sonotune_base::{Category, ImageId};
use sonotune_engine::{
    backbone::BackboneConfig,
    batch::{Batch, Target},
    optim::{self, Optimizer, OptimizerConfig, groups},
    task::{Task, TaskConfig},
};
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

const SIDE: i64 = 512;
const CLASSES: i64 = 80;
const REPEATS: usize = 5;

/// The prediction from the initial queries and those of nine layers.
const PREDICTIONS: usize = 10;

const CASES: [Case; 4] = [
    ("mask2former_r50_step_1_object_512", || train_step(1)),
    ("mask2former_r50_step_20_objects_512", || train_step(20)),
    ("mask2former_r50_matching_20_objects_512", || matching(20)),
    ("mask2former_r50_predict_512", predict),
];

fn main() -> Result<()> {
    measure::run(&CASES)
}

/// The paper's head; batch norms neither learn nor update their statistics.
fn build() -> Result<(VarStore, Box<dyn Task>)> {
    tch::manual_seed(0);
    let backbone = json!({ "type": "resnet", "depth": 50, "norm_requires_grad": false });
    let backbone: Box<dyn BackboneConfig> = serde_json::from_value(backbone)?;
    let task: Box<dyn TaskConfig> = serde_json::from_value(json!({ "type": "mask2former" }))?;
    let categories: Vec<_> =
        (0..CLASSES).map(|id| Category { id, name: format!("class {id}") }).collect();
    let vs = VarStore::new(Device::Cpu);
    let backbone = backbone.build(&(vs.root() / "backbone"))?;
    let task = task.build(&vs.root(), backbone, &categories)?;
    Ok((vs, task))
}

/// Boxes of 60 × 50 pixels on a grid, with classes in turn.
fn batch(objects: i64) -> Batch {
    let masks = Tensor::zeros([objects, SIDE, SIDE], (Kind::Bool, Device::Cpu));
    let mut boxes = Vec::new();
    for i in 0..objects {
        let (top, left) = (20 + 95 * (i / 5), 15 + 98 * (i % 5));
        let _ = masks.get(i).narrow(0, top, 50).narrow(1, left, 60).fill_(1.0);
        boxes.extend([left, top, left + 60, top + 50].map(|x| x as f32));
    }
    let target = Target {
        image_id: ImageId::Unsigned(0),
        path: "bench".into(),
        original_size: (SIDE, SIDE),
        crop: None,
        spacing: None,
        input_size: (SIDE, SIDE),
        flipped: false,
        image_labels: Vec::new(),
        labels: Tensor::arange(objects, (Kind::Int64, Device::Cpu)).remainder(CLASSES),
        boxes: Tensor::from_slice(&boxes).view([objects, 4]),
        masks,
        is_crowd: Tensor::zeros([objects], (Kind::Bool, Device::Cpu)),
        objects: std::sync::Arc::new([]),
        prompts: None,
        values: Default::default(),
        stored: Default::default(),
    };
    let images = Tensor::randn([1, 3, SIDE, SIDE], (Kind::Float, Device::Cpu));
    Batch::new(images, vec![target], 0)
}

/// Forward, matching, losses of all layers, backward, clipping, AdamW.
fn train_step(objects: i64) -> Result<Value> {
    let (vs, task) = build()?;
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), groups::group(&vs, &[])?);
    let batch = batch(objects);
    let mut figures = measure::seconds(REPEATS, || {
        optimizer.zero_grad()?;
        let output = task.train_step(&batch)?;
        let weighed = output.losses.iter().map(|loss| &loss.value * loss.weight);
        weighed.reduce(|a, b| a + b).context("no losses")?.backward();
        let gradients = optimizer.gradients();
        optim::clip_grad_norm(&gradients, &optim::grad_norm(&gradients)?, 0.1)?;
        optimizer.step(1.0, None)
    })?;
    figures["aim"] = json!({ "time_ratio": 0.667, "memory_ratio": 1.0 });
    Ok(figures)
}

/// The matching in a step, on the step's thread and on the matching thread together: costs and
/// assignments of all predictions. docs/results.md has an aim for its share of a step.
fn matching(count: i64) -> Result<Value> {
    let options = (Kind::Float, Device::Cpu);
    let target = batch(count).targets.remove(0);
    let objects = Objects::new(String::new(), &target.labels, target.masks, (SIDE, SIDE))?;
    // In the layout of the pixel decoder's last convolution: channels last.
    let features = Tensor::randn([1, SIDE / 4, SIDE / 4, 256], options).permute([0, 3, 1, 2]);
    let output = LayerOutput {
        classes: Tensor::randn([1, 100, CLASSES + 1], options),
        embeddings: Tensor::randn([1, 100, 256], options) / 16.0,
    };
    let costs = MatchCosts { class: 2.0, mask: 5.0, dice: 5.0 };
    let rules =
        PointRules { num_points: 12_544, oversample_ratio: 3.0, importance_sample_ratio: 0.75 };
    measure::seconds(REPEATS, || {
        for layer in 0..PREDICTIONS {
            let mut draw = |purpose, shape: &[i64]| {
                Tensor::from_slice(&uniform(Stream::default(), purpose, shape)).view(shape)
            };
            let at = (layer, 0);
            let found = match_costs(&output, &features, &objects, at, (costs, rules), &mut draw)?;
            assign(&found)?;
        }
        Ok(())
    })
}

/// An image's masks as run lengths at its size.
fn predict() -> Result<Value> {
    let (_vs, task) = build()?;
    let batch = batch(0);
    let mut figures = measure::seconds(REPEATS, || {
        no_grad(|| task.predict(&batch))?;
        Ok(())
    })?;
    figures["aim"] = json!({ "time_ratio": 1.0 });
    Ok(figures)
}
