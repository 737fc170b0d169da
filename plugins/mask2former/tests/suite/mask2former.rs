//! Training and scoring of instance segmentation on unusual data.

use mask2former::matcher::assign;
use serde_json::{Value, from_value, json};
use sonotune_base::{Category, ErrorKind};
use sonotune_dataset::{Object, Record};
use sonotune_engine::{
    backbone::BackboneConfig,
    batch::Batch,
    device::autocast,
    loader::{LoadPlan, prepare_batch},
    task::{Instance, Prediction, StepOutput, Task, TaskConfig},
};
use tch::{Device, Kind, Tensor, manual_seed, nn::VarStore, no_grad};

use sonotune_testing_models::objects::{disc, record, scalar, total};

const SIDE: u32 = 64;

struct Model {
    vs: VarStore,
    task: Box<dyn Task>,
    plan: LoadPlan,
}

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

fn build(backbone: Value, extra: &Value) -> anyhow::Result<Model> {
    manual_seed(7);
    let backbone: Box<dyn BackboneConfig> = from_value(backbone)?;
    let vs = VarStore::new(Device::Cpu);
    let backbone = backbone.build(&(vs.root() / "backbone"))?;
    let spec = backbone.spec().clone();
    let categories = ["benign", "malignant"];
    let categories: Vec<_> =
        (1..).zip(categories).map(|(id, name)| Category { id, name: name.into() }).collect();
    let mut table = json!({
        "type": "mask2former",
        "num_queries": 8, "feat_channels": 32, "num_heads": 4,
        "pixel_decoder": { "num_layers": 1, "feedforward_channels": 32 },
        "transformer_decoder": { "num_layers": 3, "feedforward_channels": 32 },
        "training": { "num_points": 64 },
    });
    table.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let config: Box<dyn TaskConfig> = from_value(table)?;
    let task = config.build(&vs.root(), backbone, &categories)?;
    let plan = LoadPlan {
        preprocess: from_value(json!({ "image_size": SIDE }))?,
        augment: Default::default(),
        loader: Default::default(),
        spec: spec.input,
        needs: task.needs(),
        embeddings: None,
        seed: 3,
    };
    Ok(Model { vs, task, plan })
}

fn batch(model: &Model, records: &[Record]) -> Batch {
    prepare_batch(records, &model.plan).unwrap()
}

fn step(model: &Model, batch: &Batch) -> anyhow::Result<StepOutput> {
    model.task.train_step(batch)
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
        let model = build(backbone.clone(), &extra).unwrap();
        let objects = vec![disc((30, 40), 12, SIDE), disc((10, 12), 6, SIDE)];
        let batch = batch(&model, &[record(folder.path(), "a.png", SIDE, objects)]);
        let output = step(&model, &batch).unwrap();
        assert_eq!(output.losses.len(), 12, "three terms of four predictions");
        assert_every_gradient_is_finite(&model, &output);
        let predict = || no_grad(|| model.task.predict(&batch)).unwrap().remove(0);
        let prediction = predict();
        assert_eq!(prediction, predict());
        let scores: Vec<f64> = prediction.instances.iter().map(|i| i.score).collect();
        assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
        assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)), "{backbone}");
    }
}

#[test]
fn images_without_objects_teach_that_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), &json!({})).unwrap();
    let empty = |name: &str| record(folder.path(), name, SIDE, vec![]);
    let output = step(&model, &batch(&model, &[empty("a.png"), empty("b.png")])).unwrap();
    assert_eq!(scalar(&output, "objects"), 0.0);
    assert_eq!((loss(&output, "loss_mask"), loss(&output, "d0.loss_dice")), (0.0, 0.0));
    assert!(loss(&output, "loss_cls") > 0.1);
    assert_every_gradient_is_finite(&model, &output);
    // Beside an image with objects, an image without any does not change the masks' loss.
    let full = || record(folder.path(), "c.png", SIDE, vec![disc((30, 30), 9, SIDE)]);
    let both = step(&model, &batch(&model, &[empty("a.png"), full()])).unwrap();
    assert_eq!(scalar(&both, "objects"), 1.0);
    assert!(loss(&both, "loss_mask") > 0.0);
}

/// Too small to leave a pixel in the input, outside the image, or a crowd.
#[test]
fn objects_without_pixels_and_crowds_are_not_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), &json!({})).unwrap();
    let mut crowd = disc((200, 200), 90, 1024);
    crowd.is_crowd = true;
    let objects =
        vec![disc((512, 512), 200, 1024), disc((100, 101), 1, 1024), disc((0, 0), 0, 1024), crowd];
    let large = record(folder.path(), "a.png", 1024, objects);
    let output = step(&model, &batch(&model, &[large])).unwrap();
    assert_eq!(scalar(&output, "objects"), 1.0);
    assert_eq!(scalar(&output, "objects_not_learnt_from"), 3.0);
    assert_every_gradient_is_finite(&model, &output);
}

#[test]
fn more_objects_than_queries_are_learnt_from_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), &json!({})).unwrap();
    let objects: Vec<Object> =
        (0..50).map(|i| disc((4 + 6 * (i % 10), 4 + 6 * (i / 10)), 4, SIDE)).collect();
    let batch = batch(&model, &[record(folder.path(), "a.png", SIDE, objects)]);
    let output = step(&model, &batch).unwrap();
    assert_eq!(scalar(&output, "objects"), 8.0);
    assert_eq!(scalar(&output, "objects_beyond_queries"), 42.0);
    assert_every_gradient_is_finite(&model, &output);
}

#[test]
fn a_step_is_a_function_of_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), &json!({})).unwrap();
    let objects = vec![disc((30, 40), 12, SIDE), disc((10, 12), 6, SIDE)];
    let mut batch = batch(&model, &[record(folder.path(), "a.png", SIDE, objects)]);
    let value = |batch: &Batch| total(&step(&model, batch).unwrap()).double_value(&[]);
    let first = value(&batch);
    assert_eq!(first.to_bits(), value(&batch).to_bits());
    batch.seed += 1;
    assert_ne!(first, value(&batch));
}

#[test]
fn bf16_trains() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(vit(&json!([0, 1, 2, 3])), &json!({})).unwrap();
    let objects = vec![disc((30, 40), 12, SIDE)];
    let batch = batch(&model, &[record(folder.path(), "a.png", SIDE, objects)]);
    let expected = total(&step(&model, &batch).unwrap()).double_value(&[]);
    let scope = autocast(sonotune_engine::device::Precision::Bf16, Device::Cpu).unwrap();
    let output = step(&model, &batch).unwrap();
    drop(scope);
    assert!(output.losses.iter().all(|l| l.value.kind() == Kind::Float));
    let got = total(&output).double_value(&[]);
    assert!((got - expected).abs() < 0.05 * expected, "{got}, {expected}");
    assert_every_gradient_is_finite(&model, &output);
}

#[test]
fn costs_that_are_not_finite_are_refused_with_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(resnet(), &json!({})).unwrap();
    let mut batch =
        batch(&model, &[record(folder.path(), "bad.png", SIDE, vec![disc((30, 40), 12, SIDE)])]);
    batch.images *= f64::NAN;
    let error = step(&model, &batch).unwrap_err();
    let text = format!("{error:#}");
    for part in ["bad.png", "decoder layer 0", "query 0", "NaN"] {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
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
    let model = build(resnet(), &json!({})).unwrap();
    let mut objects = vec![disc((20, 20), 10, SIDE), disc((48, 48), 8, SIDE)];
    objects[1].category = 1;
    let batch = batch(&model, &[record(folder.path(), "a.png", SIDE, objects.clone())]);
    let instance = |object: usize, category: usize| {
        let sonotune_base::Segmentation::Runs(mask) = &objects[object].segmentation else {
            unreachable!()
        };
        let [x, y, w, h] = objects[object].bbox;
        let bbox = [x, y, x + w, y + h];
        Instance { category, score: 0.9, bbox, mask: Some(mask.clone()), answers: None }
    };
    let score = |instances: Vec<Instance>| {
        let prediction = Prediction { instances, ..Prediction::of(&batch.targets[0]) };
        let mut evaluator = model.task.evaluator().unwrap();
        evaluator.add(&prediction, &batch.targets[0]).unwrap();
        let report = evaluator.finish().unwrap();
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
    for (backbone, extra, parts) in [
        (resnet(), json!({ "feat_channels": 40 }), vec!["task.feat_channels = 40", "32"]),
        (resnet(), json!({ "num_heads": 3 }), vec!["task.num_heads = 3", "feat_channels = 32"]),
        (resnet(), json!({ "num_queries": 0 }), vec!["task.num_queries = 0"]),
        (
            resnet(),
            json!({ "training": { "num_points": 0 } }),
            vec!["task.training.num_points = 0"],
        ),
        (
            resnet(),
            json!({ "training": { "importance_sample_ratio": 1.5 } }),
            vec!["task.training.importance_sample_ratio = 1.5", "0 to 1"],
        ),
        (
            resnet(),
            json!({ "training": { "dice_weight": -1.0 } }),
            vec!["task.training.dice_weight = -1"],
        ),
        (
            resnet(),
            json!({ "training": { "no_object_weight": 0.0 } }),
            vec!["task.training.no_object_weight = 0.0", "above 0"],
        ),
        (
            resnet(),
            json!({ "evaluation": { "max_per_image": 0 } }),
            vec!["task.evaluation.max_per_image = 0"],
        ),
        (
            vit(&json!([3])),
            json!({}),
            vec!["1 level", "backbone.out_indices", "simple_feature_pyramid"],
        ),
        (
            vit(&json!([3])),
            json!({ "neck": "simple_feature_pyramid", "pixel_decoder": { "num_levels": 5 } }),
            vec!["num_levels = 5", "4 levels"],
        ),
        (resnet(), json!({ "num_querys": 5 }), vec!["num_querys", "num_queries"]),
    ] {
        let error = format!("{:#}", build(backbone, &extra).err().unwrap());
        for part in parts {
            assert!(error.contains(part), "{extra}: no `{part}` in: {error}");
        }
    }
}
