//! The classifier against mmpretrain's, and its errors for bad labels.

use anyhow::Result;
use classification as _;
use serde_json::{Value, json};
use sonotune_base::{Category, ImageId, error::exit_code};
use sonotune_dataset::InputSpec;
use sonotune_engine::{
    backbone::{Backbone, BackboneSpec, Level},
    batch::{Batch, Target},
    task::{Prediction, Task, TaskConfig},
};
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

use sonotune_testing::{assert_contains, shared};
use sonotune_testing_models::{
    model::{categories, merged},
    reference::{Reference, assert_close, assert_gradient_norms, load, mm_vit_name},
};

/// One small matrix product and a focal loss in fp32.
const HEAD: f64 = 1e-5;
/// Through the whole backbone, forward and back.
const WHOLE: f64 = 1e-4;

/// A backbone with known features: returns its input as the only level.
#[derive(Debug)]
struct Features(BackboneSpec);

impl Features {
    fn new(channels: i64) -> Box<Self> {
        Box::new(Self(BackboneSpec {
            input: InputSpec::imagenet(1),
            levels: vec![Level { channels, stride: 1 }],
        }))
    }
}

impl Backbone for Features {
    fn spec(&self) -> &BackboneSpec {
        &self.0
    }

    fn forward(&self, images: &Tensor, _: bool) -> Result<Vec<Tensor>> {
        Ok(vec![images.shallow_clone()])
    }
}

fn config(extra: Value) -> Box<dyn TaskConfig> {
    serde_json::from_value(merged(json!({ "type": "classification" }), extra)).unwrap()
}

fn batch(images: Tensor, labels: &[Vec<i64>]) -> Batch {
    let none = || Tensor::empty([0], (Kind::Int64, Device::Cpu));
    let target = |(index, labels): (usize, &Vec<i64>)| Target {
        image_id: ImageId::Unsigned(index as u128),
        path: format!("scans/{index}.png").into(),
        original_size: (480, 640),
        crop: None,
        spacing: None,
        input_size: (96, 128),
        flipped: false,
        image_labels: labels.clone(),
        labels: none(),
        boxes: none(),
        masks: none(),
        is_crowd: none(),
        objects: [].into(),
        prompts: None,
        values: Default::default(),
        stored: Default::default(),
    };
    Batch::new(images, labels.iter().enumerate().map(target).collect(), 0)
}

fn reference_labels(reference: &Reference) -> Vec<Vec<i64>> {
    let labels = Vec::<i64>::try_from(&reference.io["labels"]).unwrap();
    labels.into_iter().map(|label| vec![label]).collect()
}

/// `["0", "1", …]` for the reference's classes.
fn reference_categories(reference: &Reference) -> Vec<Category> {
    let count = reference.json["config"]["num_classes"].as_i64().unwrap();
    (0..count).map(|id| Category { id, name: id.to_string() }).collect()
}

fn assert_predictions(reference: &Reference, got: &[Prediction], tolerance: f64) {
    let scores = reference.json["eval.pred_score"].as_array().unwrap();
    let labels = reference.json["eval.pred_label"].as_array().unwrap();
    assert_eq!(got.len(), scores.len());
    for ((prediction, scores), labels) in got.iter().zip(scores).zip(labels) {
        assert_eq!(json!(prediction.labels), *labels);
        let expected = scores.as_array().unwrap();
        assert_eq!(prediction.scores.len(), expected.len());
        for (score, expected) in prediction.scores.iter().zip(expected) {
            assert!((score - expected.as_f64().unwrap()).abs() < tolerance, "{score} {expected}");
        }
    }
}

/// Head and loss alone, on the reference's own pooled features.
fn head_alone(folder: &str) {
    let Some(folder) = shared(folder) else { return };
    let reference = Reference::read(&folder);
    let pooled = &reference.io["eval.feat"];
    let (images, channels) = pooled.size2().unwrap();
    let vs = VarStore::new(Device::Cpu);
    let categories = reference_categories(&reference);
    let task = config(json!({})).build(&vs.root(), Features::new(channels), &categories).unwrap();
    let names: Vec<String> = vs.variables().into_keys().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    load(&vs, &reference.weights, str::to_owned);

    // A grid of 2×2 whose average is the pooled feature.
    let offsets = Tensor::from_slice(&[1f32, -1.0, 2.0, -2.0]).view([1, 1, 2, 2]);
    let grid = pooled.view([images, channels, 1, 1]) + offsets;
    let predictions = task.predict(&batch(grid, &reference_labels(&reference))).unwrap();
    assert_predictions(&reference, &predictions, HEAD);
    for (row, prediction) in predictions.iter().enumerate() {
        let expected = reference.io["eval.logits"].get(row as i64).sigmoid();
        let scores = Tensor::from_slice(&prediction.scores).to_kind(Kind::Float);
        assert_close("scores", &scores, &expected, HEAD);
    }
}

/// Image to loss, gradients and prediction.
fn whole(folder: &str, name_of: fn(&str) -> String) {
    let Some(folder) = shared(folder) else { return };
    let reference = Reference::read(&folder);
    let vs = VarStore::new(Device::Cpu);
    let backbone = reference.config(json!({})).build(&(vs.root() / "backbone")).unwrap();
    let categories = reference_categories(&reference);
    let task = config(json!({})).build(&vs.root(), backbone, &categories).unwrap();
    let upstream = |name: &str| name.strip_prefix("backbone.").map_or(name.to_owned(), name_of);
    load(&vs, &reference.weights, upstream);

    let batch = batch(reference.io["input"].shallow_clone(), &reference_labels(&reference));
    let predictions = no_grad(|| task.predict(&batch)).unwrap();
    assert_predictions(&reference, &predictions, WHOLE);

    let output = task.train_step(&batch).unwrap();
    assert_eq!(output.losses.len(), 1);
    let loss = &output.losses[0];
    assert_eq!((loss.name.as_str(), loss.weight), ("loss_focal", 1.0));
    let expected = reference.json["train.loss"].as_f64().unwrap();
    let got = loss.value.double_value(&[]);
    assert!((got - expected).abs() < HEAD * expected, "{got} {expected}");

    loss.value.backward();
    let variables = vs.variables();
    let upstream_of: Vec<(String, String)> =
        variables.keys().map(|name| (upstream(name), name.clone())).collect();
    let mut compared = 0;
    for (key, expected) in &reference.io {
        let Some(key) = key.strip_prefix("grad.") else { continue };
        let (_, name) = upstream_of.iter().find(|(theirs, _)| theirs == key).unwrap();
        assert_close(key, &variables[name].grad(), expected, WHOLE);
        compared += 1;
    }
    assert!(compared >= 2);
    assert_gradient_norms(&vs, &reference.gradient_norms("grad_norms"), upstream, WHOLE);
}

#[test]
fn parity_of_the_classification_head_on_vit_features() {
    head_alone("reference/classification_vit");
}

#[test]
fn parity_of_the_classification_head_on_resnet_features() {
    head_alone("reference/classification_r50");
}

#[test]
fn parity_of_the_vit_classifier() {
    whole("reference/classification_vit", mm_vit_name);
}

#[test]
fn parity_of_the_resnet_classifier() {
    whole("reference/classification_r50", |name| format!("backbone.{name}"));
}

fn task(extra: Value, names: &[&str]) -> Result<Box<dyn Task>> {
    let vs = VarStore::new(Device::Cpu);
    config(extra).build(&vs.root(), Features::new(4), &categories(names))
}

fn features(images: i64) -> Tensor {
    Tensor::arange(images * 4, (Kind::Float, Device::Cpu)).view([images, 4, 1, 1])
}

#[track_caller]
fn assert_refused<T>(result: Result<T>, code: u8, parts: &[&str]) {
    let Err(error) = result else { panic!("accepted") };
    let text = format!("{error:#}");
    assert_eq!(exit_code(&error), code, "{text}");
    assert_contains(&text, parts);
}

#[test]
fn an_image_without_exactly_one_label_is_named() {
    let task = task(json!({}), &["benign", "malignant"]).unwrap();
    for (labels, found) in
        [(vec![], "found none"), (vec![0, 1], "found benign, malignant"), (vec![2], "label 2")]
    {
        let batch = batch(features(2), &[vec![0], labels.clone()]);
        assert_refused(task.train_step(&batch), 3, &["image 1 (scans/1.png)", found]);
        // Predicting needs no labels, scoring does.
        let predictions = task.predict(&batch).unwrap();
        let scored = task.evaluator().unwrap().add(&predictions[1], &batch.targets[1]);
        assert_refused(scored, 3, &["scans/1.png", found]);
    }
    assert_refused(task.evaluator().unwrap().finish(), 3, &["no image"]);
}

#[test]
fn options_that_cannot_work_are_refused_with_their_key() {
    let two = ["benign", "malignant"];
    assert_refused(task(json!({}), &two[..1]), 3, &["at least 2 categories", "1 (benign)"]);
    assert_refused(task(json!({}), &[]), 3, &["have 0"]);
    for (extra, parts) in [
        (
            json!({ "loss": { "type": "sigmoid_focal", "gamma": -1 } }),
            ["`task.loss.gamma`", "-1.0"],
        ),
        (
            json!({ "loss": { "type": "sigmoid_focal", "alpha": 1.5 } }),
            ["`task.loss.alpha`", "1.5"],
        ),
        (
            json!({ "loss": { "type": "cross_entropy", "label_smoothing": 1.0 } }),
            ["`task.loss.label_smoothing`", "1.0"],
        ),
        (json!({ "class_weights": { "cyst": 2.0 } }), ["cyst", "benign, malignant"]),
        (json!({ "class_weights": { "benign": 0.0 } }), ["class_weights.benign", "above 0"]),
        (
            json!({ "multi_label": true, "loss": { "type": "cross_entropy" } }),
            ["`task.loss`", "multi_label"],
        ),
        (json!({ "threshold": 0.3 }), ["`task.threshold`", "multi_label"]),
        (json!({ "multi_label": true, "threshold": 3.0 }), ["`task.threshold`", "3.0"]),
    ] {
        assert_refused(task(extra, &two), 2, &parts);
    }
}

#[test]
fn softmax_scores_sum_to_one_and_several_labels_pass_a_threshold() {
    let batch = batch(features(3), &[vec![0], vec![2], vec![]]);
    let softmax = task(json!({ "loss": { "type": "softmax_focal" } }), &["a", "b", "c"]).unwrap();
    for prediction in softmax.predict(&batch).unwrap() {
        assert!((prediction.scores.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        assert_eq!(prediction.labels.len(), 1);
        assert_eq!(prediction.original_size, (480, 640));
    }

    let several = json!({ "multi_label": true, "threshold": 0.5 });
    let several = task(several, &["a", "b", "c"]).unwrap();
    let output = several.train_step(&batch).unwrap();
    assert!(output.losses[0].value.double_value(&[]) > 0.0);
    let mut evaluator = several.evaluator().unwrap();
    for (prediction, target) in several.predict(&batch).unwrap().iter().zip(&batch.targets) {
        let passing = |score: &&f64| **score >= 0.5;
        assert_eq!(prediction.labels.len(), prediction.scores.iter().filter(passing).count());
        evaluator.add(prediction, target).unwrap();
    }
    let report = evaluator.finish().unwrap();
    assert!(report.get("map").is_some() && report.get("f1_micro").is_some());
    assert!(report.get("auroc").unwrap().value.is_finite());
    assert!(report.confusion.is_none());
}

#[test]
fn a_report_names_every_category() {
    let task = task(json!({}), &["benign", "malignant"]).unwrap();
    let mut evaluator = task.evaluator().unwrap();
    let batch = batch(features(3), &[vec![0], vec![1], vec![1]]);
    for (target, (label, score)) in batch.targets.iter().zip([(0, 0.25), (1, 0.75), (0, 0.5)]) {
        let prediction = Prediction {
            scores: vec![1.0 - score, score],
            labels: vec![label],
            ..Prediction::of(target)
        };
        evaluator.add(&prediction, target).unwrap();
    }
    let report = evaluator.finish().unwrap();
    let value = |name: &str| report.get(name).unwrap().value;
    assert_eq!(value("accuracy"), 2.0 / 3.0);
    assert_eq!(value("per_class/malignant/recall"), 0.5);
    assert_eq!(value("per_class/malignant/precision"), 1.0);
    assert_eq!(value("auroc"), 1.0);
    assert_eq!(report.confusion.as_ref().unwrap().counts, [[1, 0], [1, 1]]);
    assert_eq!(
        sonotune_metrics::table::report(&report),
        "precision  0.7500\nrecall     0.7500\nf1         0.6667\naccuracy   0.6667\n\
         auroc      1.0000\n\n\
         Per category\n\
         category   precision %  recall %  F1 %  AUROC %  images\n\
         benign            50.0     100.0  66.7    100.0       1\n\
         malignant        100.0      50.0  66.7    100.0       2\n\
         mean              75.0      75.0  66.7    100.0       3\n\n\
         Confusion matrix\n\
         truth \\ predicted  benign  malignant\n\
         benign                  1          0\n\
         malignant               1          1\n\
         note: accuracy 0.6667 is no higher than that of answering \"malignant\" for every image, \
         0.6667\n"
    );
}
