//! A step in fp64: losses and gradients.

use serde_json::{Value, json};
use sonotune_testing_models::{
    fp64::{Slope, assert_computes_in_fp64},
    objects::{disc, record},
};

use crate::mask2former::build;

const SIDE: u32 = 64;

#[test]
fn every_way_of_feeding_a_backbone_computes_in_fp64() {
    let vit = json!({
        "type": "sam_vit", "embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1],
        "window_size": 2, "image_size": SIDE, "patch_size": 16, "out_channels": 0,
    });
    let resnet = json!({ "type": "resnet", "depth": 18, "base_channels": 8 });
    check(resnet, json!({}));
    check(vit, json!({ "neck": "simple_feature_pyramid" }));
}

#[track_caller]
fn check(backbone: Value, extra: Value) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = build(backbone, extra).unwrap();
    let of = |name: &str, objects| record(folder.path(), name, SIDE, objects);
    let records =
        [of("a.png", vec![disc((30, 40), 12, SIDE), disc((12, 10), 7, SIDE)]), of("b.png", vec![])];
    let batch = assert_computes_in_fp64(&mut model, &records, Slope::Gradients);
    let scores: Vec<f64> = model.predict(&batch).instances.iter().map(|i| i.score).collect();
    assert!(scores.iter().any(|&score| f64::from(score as f32) != score), "{scores:?}");
}
