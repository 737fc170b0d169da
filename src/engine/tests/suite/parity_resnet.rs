//! ResNet against mmdet, mmpretrain and torchvision.

use serde_json::json;
use tch::{Kind, no_grad};

use sonotune_testing::{fixture, shared};
use sonotune_testing_models::reference::{Reference, assert_close, build};

use crate::parity_backbone::classification;

/// fp32 through fifty convolutions, with the batch norms folded into them.
const FEATURES: f64 = 5e-5;

fn mm(name: &str) -> String {
    format!("backbone.{name}")
}

#[test]
fn parity_with_mmpretrain_resnet_classifier() {
    let Some(folder) = shared("reference/classification_r50") else { return };
    classification(&Reference::read(&folder), json!({}), mm);
}

#[test]
fn parity_with_mask2former_r50_levels() {
    let Some(folder) = shared("reference/mask2former_r50") else { return };
    let reference = Reference::read(&folder);
    let config = reference.config(json!({ "norm_requires_grad": false }));
    let (vs, resnet) = build(&*config, &reference.weights, mm);
    let levels = no_grad(|| resnet.forward(&reference.io["train.input"], false)).unwrap();
    assert_eq!(levels.len(), 4);
    for (index, level) in levels.iter().enumerate() {
        let expected = &reference.io[&format!("train.feat.{index}")];
        assert_close(&format!("level {index}"), level, expected, FEATURES);
    }
    // Exactly what the reference trains has a gradient.
    let norms = reference.gradient_norms("grad_norms");
    for (name, variable) in vs.variables() {
        let learns = norms.get(&mm(&name)).is_some_and(Option::is_some);
        assert_eq!(variable.requires_grad(), learns, "{name}");
    }
}

#[test]
fn parity_with_torchvision_in_a_clone_alone() {
    for depth in ["resnet18", "resnet50"] {
        let reference = Reference::read(&fixture(depth));
        let config = reference.config(json!({}));
        let (vs, resnet) = build(&*config, &reference.weights, str::to_owned);
        let levels = resnet.forward(&reference.io["images"], true).unwrap();
        for (index, level) in levels.iter().enumerate() {
            let expected = &reference.io[&format!("level.{index}")];
            assert_close(&format!("{depth} level {index}"), level, expected, FEATURES);
        }
        levels[3].square().mean(Kind::Float).backward();
        let variables = vs.variables();
        for (key, expected) in &reference.io {
            if let Some(name) = key.strip_prefix("grad.") {
                assert_close(key, &variables[name].grad(), expected, 1e-4);
            }
        }
    }
}

#[test]
fn parity_with_torchvision_where_batch_norms_learn_statistics() {
    let reference = Reference::read(&fixture("resnet18"));
    let config = reference.config(json!({ "norm_eval": false }));
    let (vs, resnet) = build(&*config, &reference.weights, str::to_owned);
    let images = &reference.io["images"];
    // The stored statistics are those of evaluation, and are not moved by it.
    let evaluated = no_grad(|| resnet.forward(images, false)).unwrap();
    assert_close("in evaluation", &evaluated[3], &reference.io["level.3"], FEATURES);
    let levels = resnet.forward(images, true).unwrap();
    for (index, level) in levels.iter().enumerate() {
        let expected = &reference.io[&format!("train.level.{index}")];
        assert_close(&format!("level {index}"), level, expected, FEATURES);
    }
    levels[3].square().mean(Kind::Float).backward();
    let variables = vs.variables();
    let mut compared = 0;
    for (key, expected) in &reference.io {
        if let Some(name) = key.strip_prefix("train.grad.") {
            assert_close(key, &variables[name].grad(), expected, 1e-4);
        } else if let Some(name) = key.strip_prefix("train.after.") {
            assert_close(key, &variables[name], expected, FEATURES);
            compared += 1;
        }
    }
    // Mean and variance of the stem, two norms in each of eight blocks, and three shortcuts.
    assert_eq!(compared, 2 * (1 + 2 * 8 + 3));
}
