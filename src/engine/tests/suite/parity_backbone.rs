//! SAM's ViT against segment-anything, mmdet and mmpretrain.

use serde_json::{Value, json};
use tch::{Kind, Tensor, no_grad};

use sonotune_testing::{fixture, shared};
use sonotune_testing_models::reference::{
    Reference, assert_close, assert_gradient_norms, build, mm_vit_name, relative_difference,
};

/// fp32 through a few blocks: orders of summation differ, which leaves about 1e-6.
const FEATURES: f64 = 2e-5;
/// Gradients sum over all tokens and images.
const GRADIENTS: f64 = 1e-4;

const KERNELS: [&str; 4] = ["auto", "explicit", "extended", "fused"];

fn original(name: &str) -> String {
    format!("image_encoder.{name}")
}

/// Features of every block, the embedding, and the gradients of `mean(embedding²)`.
fn segment_anything(reference: &Reference, kernel: &str) {
    let kernel = json!({ "attention_kernel": kernel });
    let depth = reference.json["config"]["backbone"]["depth"].as_u64().unwrap();
    let mut blocks = kernel.clone();
    blocks["out_channels"] = 0.into();
    blocks["out_indices"] = (0..depth).collect::<Vec<_>>().into();
    let (_, encoder) = build(&*reference.config(blocks), &reference.weights, original);
    let images = &reference.io["images"];
    let levels = no_grad(|| encoder.forward(images, false)).unwrap();
    assert_eq!(levels.len() as u64, depth);
    for (index, level) in levels.iter().enumerate() {
        let expected = reference.io[&format!("block.{index}")].permute([0, 3, 1, 2]);
        assert_close(&format!("block {index}"), level, &expected, FEATURES);
    }

    let (vs, encoder) = build(&*reference.config(kernel), &reference.weights, original);
    let images = images.copy().set_requires_grad(true);
    let embeddings = encoder.forward(&images, true).unwrap().remove(0);
    assert_close("embeddings", &embeddings, &reference.io["image_embeddings"], FEATURES);
    embeddings.square().mean(Kind::Float).backward();
    assert_close("images", &images.grad(), &reference.io["grad.images"], GRADIENTS);
    let variables = vs.variables();
    let mut checked = 0;
    for (key, expected) in &reference.io {
        if let Some(name) = key.strip_prefix("grad.image_encoder.") {
            assert_close(key, &variables[name].grad(), expected, GRADIENTS);
            checked += 1;
        }
    }
    assert!(checked > 5, "only {checked} gradients compared");
}

#[test]
fn parity_with_segment_anything_on_every_attention_kernel() {
    let Some(folder) = shared("reference/segment_anything") else { return };
    let reference = Reference::read(&folder);
    for kernel in KERNELS {
        segment_anything(&reference, kernel);
    }
}

#[test]
fn parity_with_segment_anything_in_a_clone_alone() {
    let reference = Reference::read(&fixture("sam_vit"));
    for kernel in KERNELS {
        segment_anything(&reference, kernel);
    }
}

#[test]
fn parity_of_an_input_size_that_needs_interpolation() {
    let reference = Reference::read(&fixture("sam_vit"));
    for kernel in KERNELS {
        let config = reference.config(json!({ "attention_kernel": kernel }));
        let (_, encoder) = build(&*config, &reference.weights, original);
        let got = no_grad(|| encoder.forward(&reference.io["other_size.images"], false)).unwrap();
        assert_close(kernel, &got[0], &reference.io["other_size.image_embeddings"], FEATURES);
    }
}

#[test]
fn parity_with_ultrasam_features() {
    let Some(folder) = shared("reference/ultrasam") else { return };
    let reference = Reference::read(&folder);
    let (_, encoder) = build(&*reference.config(json!({})), &reference.weights, mm_vit_name);
    let mut checked = 0;
    for (key, images) in &reference.io {
        if let Some(index) = key.strip_prefix("image.").and_then(|k| k.strip_suffix(".input")) {
            let got = no_grad(|| encoder.forward(images, false)).unwrap();
            let expected = &reference.io[&format!("image.{index}.feat")];
            assert_close(key, &got[0], expected, FEATURES);
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn parity_with_mask2former_vit_levels() {
    let Some(folder) = shared("reference/mask2former_vit") else { return };
    let reference = Reference::read(&folder);
    let (_, encoder) = build(&*reference.config(json!({})), &reference.weights, mm_vit_name);
    let levels = no_grad(|| encoder.forward(&reference.io["train.input"], false)).unwrap();
    for (index, level) in levels.iter().enumerate() {
        let expected = &reference.io[&format!("train.feat.{index}")];
        assert_close(&format!("level {index}"), level, expected, FEATURES);
    }
}

/// The reference's classification loss (semantics: focal, summed, over the batch size).
fn focal(logits: &Tensor, labels: &Tensor) -> Tensor {
    let targets = labels.one_hot(logits.size()[1]).to_kind(Kind::Float);
    let p = logits.sigmoid();
    let pt: Tensor = (1 - &p) * &targets + &p * (1 - &targets);
    let alpha: Tensor = 0.75 - &targets * 0.5;
    let bce = logits.binary_cross_entropy_with_logits(
        &targets,
        None::<Tensor>,
        None::<Tensor>,
        tch::Reduction::None,
    );
    let terms: Tensor = bce * alpha * pt.square();
    terms.sum(Kind::Float) / logits.size()[0] as f64
}

/// Pooled features, loss and gradient norms of a classifier of the reference.
pub(crate) fn classification(
    reference: &Reference,
    extra: Value,
    upstream: impl Fn(&str) -> String,
) {
    let (vs, backbone) = build(&*reference.config(extra), &reference.weights, &upstream);
    let before: Vec<_> = vs.variables().into_iter().map(|(n, t)| (n, t.copy())).collect();
    let level = backbone.forward(&reference.io["input"], true).unwrap().pop().unwrap();
    let feature = level.mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
    assert_close("feature", &feature, &reference.io["eval.feat"], FEATURES);
    let (weight, bias) = (&reference.weights["head.fc.weight"], &reference.weights["head.fc.bias"]);
    let logits = feature.linear(weight, Some(bias));
    assert_close("logits", &logits, &reference.io["eval.logits"], FEATURES);
    let loss = focal(&logits, &reference.io["labels"]);
    let expected = reference.json["train.loss"].as_f64().unwrap();
    assert!((loss.double_value(&[]) - expected).abs() < 1e-5 * expected);
    loss.backward();
    assert_gradient_norms(&vs, &reference.gradient_norms("grad_norms"), &upstream, GRADIENTS);
    for (key, expected) in &reference.io {
        if let Some(name) = key.strip_prefix("grad.backbone.") {
            assert_close(key, &vs.variables()[name].grad(), expected, GRADIENTS);
        }
        if let Some(name) = key.strip_prefix("after_train.backbone.") {
            let (_, value) = before.iter().find(|(n, _)| n == name).unwrap();
            assert_eq!(relative_difference(value, expected), 0.0, "{name}");
            assert_eq!(relative_difference(&vs.variables()[name], expected), 0.0, "{name}");
        }
    }
}

#[test]
fn parity_with_mmpretrain_vit_classifier() {
    let Some(folder) = shared("reference/classification_vit") else { return };
    let reference = Reference::read(&folder);
    for kernel in KERNELS {
        classification(&reference, json!({ "attention_kernel": kernel }), mm_vit_name);
    }
}
