//! Training and scoring of instance segmentation on unusual data.

use mask2former::matcher::assign;
use serde_json::{Value, json};
use sonotune_base::ErrorKind;
use sonotune_dataset::Object;
use sonotune_engine::{
    batch::Batch,
    device::autocast,
    task::{Instance, StepOutput},
};
use tch::{Device, Kind, Tensor, manual_seed};

use sonotune_testing::assert_contains;
use sonotune_testing_models::{
    model::{Model, merged},
    objects::{disc, record, scalar, total},
};

const SIDE: u32 = 64;

fn vit(out_indices: &Value) -> Value {
    json!({
        "type": "sam_vit", "embed_dim": 32, "depth": 4, "num_heads": 2,
        "global_attn_indexes": [1, 3], "window_size": 2, "image_size": SIDE, "patch_size": 16,
        "out_channels": 0, "out_indices": out_indices,
    })
}

fn resnet() -> Value {
    json!({ "type": "resnet", "base_channels": 4, "norm_requires_grad": false })
}

pub(crate) fn build(backbone: Value, extra: Value) -> anyhow::Result<Model> {
    manual_seed(7);
    let task = json!({
        "type": "mask2former",
        "num_queries": 8, "feat_channels": 32, "num_heads": 4,
        "pixel_decoder": { "num_layers": 1, "feedforward_channels": 32 },
        "transformer_decoder": { "num_layers": 3, "feedforward_channels": 32 },
        "training": { "num_points": 64 },
    });
    Model::build(backbone, merged(task, extra), &["benign", "malignant"], SIDE)
}

fn loss(output: &StepOutput, name: &str) -> f64 {
    output.losses.iter().find(|l| l.name == name).unwrap().value.double_value(&[])
}

#[track_caller]
fn assert_every_gradient_is_finite(model: &Model, output: &StepOutput) {
    total(output).backward();
    for (name, variable) in model.vs.variables().iter().filter(|(_, v)| v.requires_grad()) {
        let gradient = variable.grad();
        assert!(gradient.defined(), "{name} has no gradient");
        assert_eq!(gradient.isfinite().all().int64_value(&[]), 1, "{name}");
    }
}

#[test]
fn every_way_of_feeding_a_backbone_trains_and_predicts() {
    let folder = tempfile::tempdir().unwrap();
    let pyramid = json!({ "neck": "simple_feature_pyramid" });
    let three = json!({ "pixel_decoder": { "num_layers": 1, "num_levels": 3 } });
    for (backbone, extra) in [
        (resnet(), json!({})),
        (json!({ "type": "resnet", "base_channels": 4, "out_indices": [1, 2, 3] }), three),
        (vit(&json!([0, 1, 2, 3])), json!({})),
        (vit(&json!([3])), pyramid),
    ] {
        let model = build(backbone.clone(), extra).unwrap();
        let objects = vec![disc((30, 40), 12, SIDE), disc((10, 12), 6, SIDE)];
        let batch = model.batch(&[record(folder.path(), "a.png", SIDE, objects)]);
        let output = model.step(&batch);
        assert_eq!(output.losses.len(), 12, "three terms of four predictions");
        assert_every_gradient_is_finite(&model, &output);
        let prediction = model.predict(&batch);
        assert_eq!(prediction, model.predict(&batch));
        let scores: Vec<f64> = prediction.instances.iter().map(|i| i.score).collect();
        assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
        assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)), "{backbone}");
    }
}

#[test]
fn images_without_objects_teach_that_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), json!({})).unwrap();
    let empty = |name: &str| record(folder.path(), name, SIDE, vec![]);
    let output = model.step(&model.batch(&[empty("a.png"), empty("b.png")]));
    assert_eq!(scalar(&output, "objects"), 0.0);
    assert_eq!((loss(&output, "loss_mask"), loss(&output, "d0.loss_dice")), (0.0, 0.0));
    assert!(loss(&output, "loss_cls") > 0.1);
    assert_every_gradient_is_finite(&model, &output);
    // Beside an image with objects, an image without any does not change the masks' loss.
    let full = || record(folder.path(), "c.png", SIDE, vec![disc((30, 30), 9, SIDE)]);
    let both = model.step(&model.batch(&[empty("a.png"), full()]));
    assert_eq!(scalar(&both, "objects"), 1.0);
    assert!(loss(&both, "loss_mask") > 0.0);
}

/// Too small to leave a pixel in the input, outside the image, or a crowd.
#[test]
fn objects_without_pixels_and_crowds_are_not_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), json!({})).unwrap();
    let mut crowd = disc((200, 200), 90, 1024);
    crowd.is_crowd = true;
    let objects =
        vec![disc((512, 512), 200, 1024), disc((100, 101), 1, 1024), disc((0, 0), 0, 1024), crowd];
    let large = record(folder.path(), "a.png", 1024, objects);
    let output = model.step(&model.batch(&[large]));
    assert_eq!(scalar(&output, "objects"), 1.0);
    assert_eq!(scalar(&output, "objects_not_learnt_from"), 3.0);
    assert_every_gradient_is_finite(&model, &output);
}

#[test]
fn more_objects_than_queries_are_learnt_from_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), json!({})).unwrap();
    let objects: Vec<Object> =
        (0..50).map(|i| disc((4 + 6 * (i % 10), 4 + 6 * (i / 10)), 4, SIDE)).collect();
    let batch = model.batch(&[record(folder.path(), "a.png", SIDE, objects)]);
    let output = model.step(&batch);
    assert_eq!(scalar(&output, "objects"), 8.0);
    assert_eq!(scalar(&output, "objects_beyond_queries"), 42.0);
    assert_every_gradient_is_finite(&model, &output);
}

#[test]
fn a_step_is_a_function_of_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), json!({})).unwrap();
    let objects = vec![disc((30, 40), 12, SIDE), disc((10, 12), 6, SIDE)];
    let mut batch = model.batch(&[record(folder.path(), "a.png", SIDE, objects)]);
    let value = |batch: &Batch| total(&model.step(batch)).double_value(&[]);
    let first = value(&batch);
    assert_eq!(first.to_bits(), value(&batch).to_bits());
    batch.seed += 1;
    assert_ne!(first, value(&batch));
}

#[test]
fn bf16_trains() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(vit(&json!([0, 1, 2, 3])), json!({})).unwrap();
    let objects = vec![disc((30, 40), 12, SIDE)];
    let batch = model.batch(&[record(folder.path(), "a.png", SIDE, objects)]);
    let expected = total(&model.step(&batch)).double_value(&[]);
    let scope = autocast(sonotune_engine::device::Precision::Bf16, Device::Cpu).unwrap();
    let output = model.step(&batch);
    drop(scope);
    assert!(output.losses.iter().all(|l| l.value.kind() == Kind::Float));
    let got = total(&output).double_value(&[]);
    assert!((got - expected).abs() < 0.05 * expected, "{got}, {expected}");
    assert_every_gradient_is_finite(&model, &output);
}

#[test]
fn costs_that_are_not_finite_are_refused_with_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), json!({})).unwrap();
    let mut batch =
        model.batch(&[record(folder.path(), "bad.png", SIDE, vec![disc((30, 40), 12, SIDE)])]);
    batch.images *= f64::NAN;
    let error = model.task.train_step(&batch).unwrap_err();
    assert_contains(&format!("{error:#}"), &["bad.png", "decoder layer 0", "query 0", "NaN"]);
    assert_eq!(sonotune_base::error::exit_code(&error), ErrorKind::NonFinite.exit_code());
}

#[test]
fn assignments_are_the_cheapest() {
    let costs = Tensor::from_slice2(&[[4.0, 1.5], [2.0, 0.0], [3.0, 2.0]]);
    assert_eq!(assign(&costs).unwrap(), [(1, 1), (2, 0)]);
    // Two queries for three objects: one object is left.
    let costs = Tensor::from_slice2(&[[4.0, 2.0, 3.0], [1.5, 0.0, 0.5]]);
    assert_eq!(assign(&costs).unwrap(), [(0, 1), (1, 2)]);
    let infinite = Tensor::from_slice2(&[[1.0, f64::INFINITY]]);
    assert!(assign(&infinite).unwrap_err().to_string().contains("object 1 is inf"));
}

/// Perfect predictions get perfect scores, only in their category.
#[test]
fn scores_are_those_of_the_instances() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), json!({})).unwrap();
    let mut objects = vec![disc((20, 20), 10, SIDE), disc((48, 48), 8, SIDE)];
    objects[1].category = 1;
    let batch = model.batch(&[record(folder.path(), "a.png", SIDE, objects.clone())]);
    let instance = |object: usize, category: usize| {
        let sonotune_base::Segmentation::Runs(mask) = &objects[object].segmentation else {
            unreachable!()
        };
        let [x, y, w, h] = objects[object].bbox;
        let bbox = [x, y, x + w, y + h];
        Instance { category, score: 0.9, bbox, mask: Some(mask.clone()), answers: None }
    };
    let score = |instances: Vec<Instance>| {
        let report = model.score(instances, &batch.targets[0]);
        move |name: &str| report.get(name).unwrap_or_else(|| panic!("no {name}")).value
    };
    let right = score(vec![instance(0, 0), instance(1, 1)]);
    let swapped = score(vec![instance(0, 1), instance(1, 0)]);
    for name in ["segm_mAP", "segm_mAP_50", "bbox_mAP", "bbox_mAP_75"] {
        // COCO's precision divides by a count plus 2e-16.
        assert!(right(name) > 1.0 - 1e-9 && swapped(name) == 0.0, "{name}");
    }
    let half = score(vec![instance(0, 0)]);
    assert!((half("segm_mAP") - 0.5).abs() < 1e-9);
    let nothing = score(vec![]);
    assert_eq!(nothing("bbox_mAP"), 0.0);
}

#[test]
fn options_that_make_no_sense_are_refused_by_key() {
    let on_resnet = [
        (json!({ "feat_channels": 40 }), vec!["task.feat_channels = 40", "32"]),
        (json!({ "num_heads": 3 }), vec!["task.num_heads = 3", "feat_channels = 32"]),
        (json!({ "num_queries": 0 }), vec!["task.num_queries = 0"]),
        (json!({ "training": { "num_points": 0 } }), vec!["task.training.num_points = 0"]),
        (
            json!({ "training": { "importance_sample_ratio": 1.5 } }),
            vec!["task.training.importance_sample_ratio = 1.5", "0 to 1"],
        ),
        (json!({ "training": { "dice_weight": -1.0 } }), vec!["task.training.dice_weight = -1"]),
        (
            json!({ "training": { "no_object_weight": 0.0 } }),
            vec!["task.training.no_object_weight = 0.0", "above 0"],
        ),
        (
            json!({ "evaluation": { "max_per_image": 0 } }),
            vec!["task.evaluation.max_per_image = 0"],
        ),
        (json!({ "num_querys": 5 }), vec!["num_querys", "num_queries"]),
    ];
    let pyramid = json!({ "neck": "simple_feature_pyramid", "pixel_decoder": { "num_levels": 5 } });
    let on_vit = [
        (json!({}), vec!["1 level", "backbone.out_indices", "simple_feature_pyramid"]),
        (pyramid, vec!["num_levels = 5", "4 levels"]),
    ];
    let on_resnet = on_resnet.map(|(extra, parts)| (resnet(), extra, parts));
    let on_vit = on_vit.map(|(extra, parts)| (vit(&json!([3])), extra, parts));
    for (backbone, extra, parts) in on_resnet.into_iter().chain(on_vit) {
        let error = build(backbone, extra.clone()).err().unwrap();
        assert_contains(&format!("{extra}: {error:#}"), &parts);
    }
}
