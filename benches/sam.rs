//! SAM with a ViT-B at 1024²: training steps, the decoder's steps on stored embeddings, and answers to
//! boxes. Protocol: `benches/peers/README.md`.

#[path = "support/measure.rs"]
mod measure;

use anyhow::{Result, bail};
use measure::Case;
use sam_prompt::{
    Frame, LossConfig, Owners, Passes, Postprocess,
    mask_decoder::{MaskDecoder, MaskTokens},
    model::{Embedding, Sam},
    pass_losses,
    prompt_encoder::{Label, PromptEncoder, Prompts},
    transformer::TransformerSizes,
};
use serde_json::{self, Value, json};
use sonotune_engine::{
    backbone::BackboneConfig,
    device::{Precision, autocast},
    embedding_cache::{EmbeddingDtype, Entry, Found},
    optim::{Optimizer, OptimizerConfig, groups},
    task::StepOutput,
};
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

const SIDE: i64 = 1024;
const CHANNELS: i64 = 256;

const CASES: [Case; 15] = [
    ("sam_train_step_fp32_1024", || aimed(train_step(Precision::Fp32, json!({})))),
    ("sam_train_step_bf16_1024", || aimed(train_step(Precision::Bf16, json!({})))),
    ("sam_train_step_fp32_extended_1024", || train_step(Precision::Fp32, kernel("extended"))),
    ("sam_train_step_bf16_extended_1024", || train_step(Precision::Bf16, kernel("extended"))),
    ("sam_train_step_fp32_explicit_1024", || train_step(Precision::Fp32, kernel("explicit"))),
    ("sam_train_step_bf16_explicit_1024", || train_step(Precision::Bf16, kernel("explicit"))),
    ("sam_train_step_fp32_checkpointed_1024", || train_step(Precision::Fp32, checkpointed())),
    ("sam_train_step_bf16_checkpointed_1024", || train_step(Precision::Bf16, checkpointed())),
    ("sam_decoder_step_fp32_1_object", || decoder_step(Precision::Fp32, 1)),
    ("sam_decoder_step_fp32_20_objects", || decoder_step(Precision::Fp32, 20)),
    ("sam_decoder_step_bf16_1_object", || decoder_step(Precision::Bf16, 1)),
    ("sam_decoder_step_bf16_20_objects", || decoder_step(Precision::Bf16, 20)),
    ("sam_box_decode_1_object", || decode(1)),
    ("sam_box_decode_20_objects", || decode(20)),
    ("sam_box_decode_100_objects", || decode(100)),
];

fn main() -> Result<()> {
    measure::run(&CASES)
}

fn kernel(name: &str) -> Value {
    json!({ "attention_kernel": name })
}

fn checkpointed() -> Value {
    json!({ "activation_checkpointing": true })
}

fn aimed(figures: Result<Value>) -> Result<Value> {
    let mut figures = figures?;
    figures["aim"] = json!({ "time_ratio": 0.85, "memory_ratio": 0.5 });
    Ok(figures)
}

fn build(extra: Value) -> Result<(VarStore, Sam)> {
    tch::manual_seed(0);
    let mut table = json!({ "type": "sam_vit", "arch": "base" });
    if let (Some(table), Value::Object(extra)) = (table.as_object_mut(), extra) {
        table.extend(extra);
    }
    let config: Box<dyn BackboneConfig> = serde_json::from_value(table)?;
    let vs = VarStore::new(Device::Cpu);
    let sizes = TransformerSizes {
        dim: CHANNELS,
        depth: 2,
        num_heads: 8,
        mlp_dim: 2048,
        double_residual: false,
        dropout: 0.0,
    };
    let sam = Sam {
        backbone: config.build(&(vs.root() / "backbone"))?,
        prompt_encoder: PromptEncoder::new(&(vs.root() / "prompt_encoder"), CHANNELS),
        mask_decoder: MaskDecoder::new(&(vs.root() / "mask_decoder"), sizes),
        image_features: None,
    };
    Ok((vs, sam))
}

/// A box of 300 × 200 pixels for each object, shifted slightly from object to object.
fn boxes(objects: i64) -> Prompts {
    let corners = |i: i64| {
        let (x, y) = (100.5 + 5.0 * i as f32, 200.5 + 3.0 * i as f32);
        [x, y, x + 300.0, y + 200.0]
    };
    let coords: Vec<f32> = (0..objects).flat_map(corners).collect();
    let labels = [Label::BoxCornerA as i64, Label::BoxCornerB as i64].repeat(objects as usize);
    Prompts {
        coords: Tensor::from_slice(&coords).view([objects, 2, 2]),
        labels: Tensor::from_slice(&labels).view([objects, 2]),
        masks: None,
    }
}

/// Masks that fill their boxes, at the decoder's resolution.
fn targets(objects: i64) -> Tensor {
    let side = SIDE / 4;
    let masks = Tensor::zeros([objects, side, side], (Kind::Float, Device::Cpu));
    for i in 0..objects {
        let mut inside = masks.get(i).narrow(0, 50, 50).narrow(1, 25, 75);
        let _ = inside.fill_(1.0);
    }
    masks
}

fn total(output: &StepOutput) -> Result<Tensor> {
    let weighed = output.losses.iter().map(|loss| &loss.value * loss.weight);
    weighed.reduce(|a, b| a + b).ok_or_else(|| anyhow::anyhow!("no losses"))
}

/// One image, one object with a box: forward, losses, backward, AdamW, everything trained.
fn train_step(precision: Precision, extra: Value) -> Result<Value> {
    let (vs, sam) = build(extra)?;
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), groups::group(&vs, &[])?);
    let images = Tensor::randn([1, 3, SIDE, SIDE], (Kind::Float, Device::Cpu));
    let (owners, targets) = (Owners::new(vec![1], &images), targets(1));
    measure::seconds(2, || {
        optimizer.zero_grad()?;
        let scope = autocast(precision, Device::Cpu)?;
        let features = sam.backbone.forward(&images, true)?.remove(0);
        let embedding = sam.embedding(vec![features], (SIDE, SIDE))?;
        let how = Passes { refines: false, last: MaskTokens::Multi, loss: &LossConfig::default() };
        let output = pass_losses(&sam, &embedding, &owners, boxes(1), &targets, how)?;
        drop(embedding);
        let total = total(&output)?;
        drop(scope);
        total.backward();
        optimizer.step(1.0, None)
    })
}

/// Only the decoder, trained on an embedding that is read from disk in every step, as in the loader.
fn decoder_step(precision: Precision, objects: i64) -> Result<Value> {
    let (vs, sam) = build(json!({ "freeze": "all" }))?;
    let mut optimizer = Optimizer::new(&OptimizerConfig::default(), groups::group(&vs, &[])?);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("embedding.safetensors");
    let grid = SIDE / 16;
    let features = Tensor::randn([CHANNELS, grid, grid], (Kind::Float, Device::Cpu));
    let size = (SIDE as u32, SIDE as u32);
    Entry { original_size: size, crop: None, levels: vec![features] }
        .write(&file, EmbeddingDtype::Fp32)?;
    let (owners, targets) = (Owners::new(vec![objects], &targets(1)), targets(objects));
    let repeats = if objects > 1 { 5 } else { 20 };
    measure::seconds(repeats, || {
        let Found::Whole(mut entry) = Entry::read(&file)? else { bail!("the embedding is gone") };
        optimizer.zero_grad()?;
        let scope = autocast(precision, Device::Cpu)?;
        let embedding = sam.embedding(vec![entry.levels.remove(0).unsqueeze(0)], (SIDE, SIDE))?;
        let how = Passes { refines: false, last: MaskTokens::Multi, loss: &LossConfig::default() };
        let output = pass_losses(&sam, &embedding, &owners, boxes(objects), &targets, how)?;
        let total = total(&output)?;
        drop(scope);
        total.backward();
        optimizer.step(1.0, None)
    })
}

/// One mask for each of this many boxes in an image whose embedding is given, at 1024².
fn decode(objects: i64) -> Result<Value> {
    let (_vs, sam) = build(json!({}))?;
    let grid = SIDE / 16;
    let features = Tensor::randn([1, CHANNELS, grid, grid], (Kind::Float, Device::Cpu));
    let embedding: Embedding = sam.embedding(vec![features], (SIDE, SIDE))?;
    let owners = Owners::new(vec![objects], &embedding.features);
    let size = (SIDE, SIDE);
    let frame = Frame { padded: size, input: size, original: size };
    let repeats = if objects > 1 { 3 } else { 20 };
    let mut figures = measure::seconds(repeats, || {
        let _masks = no_grad(|| {
            let masks = sam.decode(&embedding, &owners, &boxes(objects), MaskTokens::Single, false);
            Postprocess::Logits.masks(&masks.logits, frame)
        });
        Ok(())
    })?;
    figures["aim"] = json!({ "time_ratio": 1.0 });
    Ok(figures)
}
