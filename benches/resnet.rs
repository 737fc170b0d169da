//! A ResNet-50 classifier's training step at 1024². The protocol is that of
//! `benches/peers/README.md`.

#[path = "support/measure.rs"]
mod measure;

use anyhow::Result;
use measure::Case;
use serde_json::{self, Value, json};
use sonotune_engine::{
    backbone::BackboneConfig,
    device::{Precision, autocast},
    optim::{Optimizer, OptimizerConfig, groups},
};
use tch::{
    Device, Kind, Tensor,
    nn::{self, Module, VarStore},
};

const REPEATS: usize = 3;

const CASES: [Case; 2] = [
    ("resnet50_classifier_step_fp32_1024", || step(Precision::Fp32)),
    ("resnet50_classifier_step_bf16_1024", || step(Precision::Bf16)),
];

fn main() -> Result<()> {
    measure::run(&CASES)
}

/// Two images, two classes: forward, cross-entropy, backward, AdamW.
fn step(precision: Precision) -> Result<Value> {
    tch::manual_seed(0);
    let table = json!({ "type": "resnet", "depth": 50, "out_indices": [3] });
    let config: Box<dyn BackboneConfig> = serde_json::from_value(table)?;
    let vs = VarStore::new(Device::Cpu);
    let backbone = config.build(&(vs.root() / "backbone"))?;
    let head = nn::linear(vs.root() / "head", 2048, 2, nn::LinearConfig::default());
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), groups::group(&vs, &[])?);
    let images = Tensor::randn([2, 3, 1024, 1024], (Kind::Float, Device::Cpu));
    let labels = Tensor::from_slice(&[0i64, 1]);
    let mut figures = measure::seconds(REPEATS, || {
        optimizer.zero_grad()?;
        let scope = autocast(precision, Device::Cpu)?;
        let level = backbone.forward(&images, true)?.remove(0);
        let pooled = level.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
        let loss = head.forward(&pooled).to_kind(Kind::Float).cross_entropy_for_logits(&labels);
        drop(scope);
        loss.backward();
        optimizer.step(1.0, None)
    })?;
    figures["aim"] = json!({ "time_ratio": 1.0 });
    Ok(figures)
}
