//! A step in fp64: losses and gradients.

use serde_json::{Value, json};
use sonotune_testing_models::{
    fp64::{Slope, assert_computes_in_fp64},
    model::{Model, merged},
    objects::{disc, record},
};

const SIDE: u32 = 64;

fn build(task: Value) -> Model {
    let backbone = json!({
        "type": "sam_vit", "embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1],
        "window_size": 2, "image_size": SIDE, "patch_size": 16, "out_channels": 32,
    });
    let table = json!({
        "type": "sam_prompt",
        "decoder": { "num_heads": 2, "mlp_dim": 32, "dropout": 0.0 },
    });
    Model::build(backbone, merged(table, task), &["object"], SIDE).unwrap()
}

#[test]
fn prompts_of_every_form_compute_in_fp64() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, objects| record(folder.path(), name, SIDE, objects);
    let records = [
        of("a.png", vec![disc((30, 40), 12, SIDE), disc((12, 10), 7, SIDE)]),
        of("b.png", vec![]),
        of("c.png", vec![disc((40, 20), 15, SIDE)]),
    ];
    // The first mask, with its gradient, is a prompt of a second pass.
    let points = json!({ "convention": "ultrasam", "training": { "box_probability": 0.0 } });
    let boxes = json!({ "convention": "ultrasam", "training": { "box_probability": 1.0 } });
    let one_pass = json!({
        "convention": "segment_anything", "loss": { "mask_choice": "lowest_loss", "iou_loss": "l1" },
    });
    // Masks of a round are prompts of the next without their gradient.
    let rounds =
        json!({ "convention": "segment_anything", "training": { "interactive_rounds": 2 } });
    for (task, slope) in [
        (points, Slope::Gradients),
        (boxes, Slope::Gradients),
        (one_pass, Slope::Gradients),
        (rounds, Slope::Itself),
    ] {
        let mut model = build(task);
        let batch = assert_computes_in_fp64(&mut model, &records, slope);
        let prediction = model.predict(&batch);
        let scores: Vec<f64> = prediction.instances.iter().map(|i| i.score).collect();
        assert_eq!(scores.len(), 4, "two objects, by their centre and by their box");
        assert!(scores.iter().any(|&score| f64::from(score as f32) != score), "{scores:?}");
    }
}

#[test]
fn a_batch_without_objects_teaches_nothing_in_fp64_either() {
    use sonotune_engine::device::{Place, Precision};
    let folder = tempfile::tempdir().unwrap();
    let mut model = build(json!({ "convention": "ultrasam" }));
    Precision::Fp64.apply(&mut model.vs);
    let batch = model.batch(&[record(folder.path(), "a.png", SIDE, vec![])]);
    let place = Place { device: tch::Device::Cpu, precision: Precision::Fp64 };
    let output = model.step(&batch.to_place(place).unwrap());
    let kinds: Vec<_> = output.losses.iter().map(|loss| loss.value.kind()).collect();
    // Two passes with three terms each, as with objects.
    assert_eq!(kinds, [tch::Kind::Double; 6]);
}
