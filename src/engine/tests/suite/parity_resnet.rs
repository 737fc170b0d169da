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
