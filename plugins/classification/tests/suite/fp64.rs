//! A step in fp64: losses and gradients.

use serde_json::{Value, json};
use sonotune_dataset::Record;
use sonotune_testing_models::{
    fp64::{Slope, assert_computes_in_fp64},
    model::{Model, merged},
    objects::record,
};

const SIDE: u32 = 64;
const NAMES: [&str; 3] = ["benign", "malignant", "normal"];

fn vit(extra: Value) -> Value {
    let table = json!({
        "type": "sam_vit", "embed_dim": 32, "depth": 2, "num_heads": 2, "window_size": 3,
        "global_attn_indexes": [1], "image_size": SIDE, "out_channels": 0,
    });
    merged(table, extra)
}

fn records(folder: &std::path::Path) -> Vec<Record> {
    let labelled = |(i, labels): (usize, &[u32])| Record {
        image_labels: labels.to_vec(),
        ..record(folder, &format!("{i}.png"), SIDE - 8 * i as u32, vec![])
    };
    [&[2u32][..], &[0], &[2]].into_iter().enumerate().map(labelled).collect()
}

#[track_caller]
fn check(backbone: Value, task: Value) {
    let folder = tempfile::tempdir().unwrap();
    let task = merged(json!({ "type": "classification" }), task);
    let mut model = Model::build(backbone, task, &NAMES, SIDE).unwrap();
    let batch = assert_computes_in_fp64(&mut model, &records(folder.path()), Slope::Gradients);
    let scores = model.predict(&batch).scores;
    assert_eq!(scores.len(), NAMES.len());
    assert!(scores.iter().any(|&score| f64::from(score as f32) != score), "{scores:?}");
}

#[test]
fn every_loss_computes_in_fp64() {
    for loss in ["sigmoid_focal", "softmax_focal", "cross_entropy", "binary_cross_entropy"] {
        let multi_label = loss == "binary_cross_entropy";
        let task = json!({
            "loss": { "type": loss }, "multi_label": multi_label,
            "class_weights": { "benign": 0.3, "normal": 1.7 },
        });
        check(vit(json!({})), task);
    }
}

#[test]
fn every_form_of_a_vit_computes_in_fp64() {
    for extra in [
        json!({ "attention_kernel": "explicit" }),
        json!({ "activation_checkpointing": true }),
        json!({ "freeze": "all", "lora": { "rank": 2, "targets": ["q", "v", "proj", "mlp"] } }),
        json!({ "freeze": "all", "adapter": {} }),
        // Position embeddings are resized in the step.
        json!({ "image_size": 96 }),
    ] {
        check(vit(extra), json!({}));
    }
}

#[test]
fn a_resnet_computes_in_fp64() {
    for depth in [18, 50] {
        check(json!({ "type": "resnet", "depth": depth, "base_channels": 8 }), json!({}));
    }
}
