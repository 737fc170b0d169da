//! SAM's ViT: forward of ViT-B at 1024², and training steps of a small one. The protocol is that of
//! `benches/peers/README.md`.

#[path = "support/measure.rs"]
mod measure;

use anyhow::Result;
use measure::Case;
use serde_json::{self, Value, json};
use sonotune_engine::{
    backbone::{Backbone, BackboneConfig},
    device::{Precision, autocast},
    optim::{Optimizer, OptimizerConfig, groups},
};
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

const REPEATS: usize = 3;
const TRAIN_REPEATS: usize = 6;

const CASES: [Case; 5] = [
    ("vit_b_forward_fp32_1024", || forward(Precision::Fp32)),
    ("vit_b_forward_bf16_1024", || forward(Precision::Bf16)),
    ("vit_small_train_step_fp32_256", || train_step(Precision::Fp32, false)),
    ("vit_small_train_step_bf16_256", || train_step(Precision::Bf16, false)),
    ("vit_small_train_step_checkpointed_fp32_256", || train_step(Precision::Fp32, true)),
];

fn main() -> Result<()> {
    measure::run(&CASES)
}

fn build(table: Value) -> Result<(VarStore, Box<dyn Backbone>)> {
    tch::manual_seed(0);
    let config: Box<dyn BackboneConfig> = serde_json::from_value(table)?;
    let vs = VarStore::new(Device::Cpu);
    let backbone = config.build(&vs.root())?;
    Ok((vs, backbone))
}

/// One image through ViT-B and its neck, without gradients.
fn forward(precision: Precision) -> Result<Value> {
    let (_vs, encoder) = build(json!({ "type": "sam_vit", "arch": "base" }))?;
    let images = Tensor::randn([1, 3, 1024, 1024], (Kind::Float, Device::Cpu));
    let mut figures = measure::seconds(REPEATS, || {
        let _scope = autocast(precision, Device::Cpu)?;
        no_grad(|| encoder.forward(&images, false)).map(drop)
    })?;
    figures["aim"] = json!({
        "time_ratio": 0.75, "memory_ratio": 0.34, "memory_peer": "segment_anything"
    });
    Ok(figures)
}

/// Eight images of 256² through a ViT of 192 channels and six blocks: forward, backward, AdamW.
fn train_step(precision: Precision, activation_checkpointing: bool) -> Result<Value> {
    let (vs, encoder) = build(json!({
        "type": "sam_vit", "embed_dim": 192, "depth": 6, "num_heads": 6, "window_size": 7,
        "global_attn_indexes": [2, 5], "image_size": 256,
        "activation_checkpointing": activation_checkpointing
    }))?;
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), groups::group(&vs, &[])?);
    let images = Tensor::randn([8, 3, 256, 256], (Kind::Float, Device::Cpu));
    let mut figures = measure::seconds(TRAIN_REPEATS, || {
        optimizer.zero_grad()?;
        let scope = autocast(precision, Device::Cpu)?;
        let embedding = encoder.forward(&images, true)?.remove(0);
        let loss = embedding.to_kind(Kind::Float).square().mean(Kind::Float);
        drop(scope);
        loss.backward();
        optimizer.step(1.0, None)
    })?;
    figures["aim"] = json!({ "time_ratio": 1.0 });
    Ok(figures)
}
