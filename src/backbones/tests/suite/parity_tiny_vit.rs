//! TinyViT against LiteMedSAM's code and timm's.

use std::path::Path;

use serde_json::json;
use sonotune_weights as weights;
use sonotune_weights::ConvertOptions;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

use sonotune_engine::backbone::Backbone;
use sonotune_testing::fixture;
use sonotune_testing_models::{
    reference::{Reference, assert_close, build},
    upstream::config as config_of,
};

/// fp32 through a few blocks, with the batch norms folded into the convolutions.
const FEATURES: f64 = 2e-5;
/// Gradients sum over all positions and images.
const GRADIENTS: f64 = 1e-4;

fn original(name: &str) -> String {
    format!("image_encoder.{name}")
}

/// timm has the merging at the start of the next stage.
fn timm(name: &str) -> String {
    let mut name = name.replace("patch_embed.seq.0.", "patch_embed.conv1.");
    name = name.replace("patch_embed.seq.2.", "patch_embed.conv2.").replace(".c.", ".conv.");
    for stage in (0..4).rev() {
        let (downsample, next) =
            (format!("layers.{stage}.downsample."), format!("stages.{}.downsample.", stage + 1));
        name = name.replace(&downsample, &next);
        name = name.replace(&format!("layers.{stage}."), &format!("stages.{stage}."));
    }
    name
}

fn assert_gradients(
    reference: &Reference,
    vs: &VarStore,
    prefix: &str,
    upstream: impl Fn(&str) -> String,
) {
    let mut checked = 0;
    for (name, variable) in vs.variables() {
        if let Some(expected) = reference.io.get(&format!("{prefix}{}", upstream(&name))) {
            assert_close(&name, &variable.grad(), expected, GRADIENTS);
            checked += 1;
        }
    }
    let stored = reference.io.keys().filter(|key| key.starts_with(prefix)).count();
    assert!(checked > 15 && checked + 1 >= stored, "{checked} of {stored} gradients compared");
}

fn embed(encoder: &dyn Backbone, images: &Tensor) -> Tensor {
    encoder.forward(images, true).unwrap().remove(0)
}

#[test]
fn parity_with_litemedsam_of_every_stage_and_gradient() {
    let reference = Reference::read(&fixture("tiny_vit"));
    let stages = json!({ "out_channels": 0, "out_indices": [0, 1, 2, 3] });
    let (_, encoder) = build(&*reference.config(stages), &reference.weights, original);
    let images = &reference.io["images"];
    let levels = no_grad(|| encoder.forward(images, false)).unwrap();
    assert_eq!(levels.len(), 4);
    for (index, level) in levels.iter().enumerate() {
        let expected = &reference.io[&format!("stage.{index}")];
        assert_close(&format!("stage {index}"), level, expected, FEATURES);
    }
    for checkpointing in [false, true] {
        let extra = json!({ "activation_checkpointing": checkpointing });
        let (vs, encoder) = build(&*reference.config(extra), &reference.weights, original);
        let images = images.copy().set_requires_grad(true);
        let embeddings = embed(&*encoder, &images);
        let expected = &reference.io["image_embeddings"];
        assert_close("embeddings", &embeddings, expected, FEATURES);
        embeddings.square().mean(Kind::Float).backward();
        assert_close("images", &images.grad(), &reference.io["grad.images"], GRADIENTS);
        assert_gradients(&reference, &vs, "grad.", original);
        assert_statistics(&vs, |name| &reference.weights[&original(name)], 0.0);
    }
}

/// Compares the statistics of batch norms.
fn assert_statistics<'a>(
    vs: &VarStore,
    expected: impl Fn(&str) -> &'a Tensor,
    tolerance: f64,
) -> usize {
    let variables = vs.variables();
    let statistics = variables.iter().filter(|(name, _)| name.contains("running_"));
    for (name, variable) in statistics.clone() {
        if tolerance == 0.0 {
            assert!(variable.equal(expected(name)), "{name} has moved");
        } else {
            assert_close(name, variable, expected(name), tolerance);
        }
    }
    statistics.count()
}

#[test]
fn parity_with_litemedsam_where_batch_norms_learn_statistics() {
    let reference = Reference::read(&fixture("tiny_vit"));
    let config = reference.config(json!({ "norm_eval": false }));
    let (vs, encoder) = build(&*config, &reference.weights, original);
    let images = &reference.io["images"];
    let expected = &reference.io["image_embeddings"];
    let evaluated = no_grad(|| encoder.forward(images, false)).unwrap();
    assert_close("in evaluation", &evaluated[0], expected, FEATURES);
    let embeddings = embed(&*encoder, images);
    assert_close("in training", &embeddings, &reference.io["train.image_embeddings"], FEATURES);
    embeddings.square().mean(Kind::Float).backward();
    assert_gradients(&reference, &vs, "train.grad.", original);
    let after = |name: &str| &reference.io[&format!("train.after.{}", original(name))];
    assert_eq!(assert_statistics(&vs, after, FEATURES), 2 * 18);

    // Frozen layers keep theirs.
    let config = reference.config(json!({ "norm_eval": false, "freeze": "all" }));
    let (vs, encoder) = build(&*config, &reference.weights, original);
    let embeddings = embed(&*encoder, images);
    assert_close("frozen", &embeddings, expected, FEATURES);
    assert_statistics(&vs, |name| &reference.weights[&original(name)], 0.0);
}

#[test]
fn parity_with_timm_on_an_image_that_is_not_square() {
    let reference = Reference::read(&fixture("tiny_vit_timm"));
    let (vs, encoder) = build(&*reference.config(json!({})), &reference.weights, timm);
    let levels = encoder.forward(&reference.io["images"], true).unwrap();
    for (level, (known, index)) in levels.iter().zip(encoder.spec().levels.iter().zip(0..)) {
        let expected = &reference.io[&format!("stage.{index}")];
        assert_close(&format!("stage {index}"), level, expected, FEATURES);
        let [_, channels, height, width] = level.size()[..] else { panic!("{:?}", level.size()) };
        assert_eq!(
            (channels, height * known.stride, width * known.stride),
            (known.channels, 32, 64)
        );
    }
    levels[3].square().mean(Kind::Float).backward();
    assert_gradients(&reference, &vs, "grad.", timm);
}

#[test]
fn files_of_each_naming_load_strictly_and_convert_into_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let convert = |from: &Path, name: &str, to: &str, drop: &[&str]| {
        let output = folder.path().join(name);
        let drop = drop.iter().map(|pattern| (*pattern).to_owned()).collect();
        let options = ConvertOptions { to: Some(to.to_owned()), drop, ..ConvertOptions::default() };
        weights::convert(from, &output, &options).unwrap();
        output
    };
    let load = |file: &Path, reference: &Reference, convention: &str, extra| {
        let (config, vs) = (reference.config(extra), VarStore::new(Device::Cpu));
        let encoder = config.build(&(vs.root() / "backbone")).unwrap();
        let report = weights::load(&vs, &config_of(file.to_owned(), &[])).unwrap();
        assert_eq!(report.recognised.convention.name, convention);
        assert_eq!(report.loaded.len(), vs.variables().len());
        no_grad(|| encoder.forward(&reference.io["images"], false)).unwrap()
    };
    let mobile_sam = fixture("tiny_vit/weights.safetensors");
    let reference = Reference::read(&fixture("tiny_vit"));
    let expected = &reference.io["image_embeddings"];
    let alone = convert(&mobile_sam, "encoder.pth", "tiny_vit", &[]);
    let ours = convert(&alone, "ours.safetensors", "sonotune", &[]);
    for (file, convention) in
        [(&mobile_sam, "mobile_sam"), (&alone, "tiny_vit"), (&ours, "sonotune")]
    {
        let got = load(file, &reference, convention, json!({}));
        assert_close(convention, &got[0], expected, FEATURES);
    }
    // timm has no neck.
    let without_neck = json!({ "out_channels": 0 });
    let in_timm = convert(&ours, "timm.pth", "timm_tiny_vit", &["backbone.neck.*"]);
    let got = load(&in_timm, &reference, "timm_tiny_vit", without_neck);
    assert_close("in timm's names", &got[0], &reference.io["stage.3"], FEATURES);

    let file = fixture("tiny_vit_timm/weights.safetensors");
    let reference = Reference::read(&fixture("tiny_vit_timm"));
    let got = load(&file, &reference, "timm_tiny_vit", json!({}));
    assert_close("timm", &got[3], &reference.io["stage.3"], FEATURES);
    let back = convert(&file, "tiny_vit.pth", "tiny_vit", &[]);
    let got = load(&back, &reference, "tiny_vit", json!({}));
    assert_close("as TinyViT", &got[3], &reference.io["stage.3"], FEATURES);
}
