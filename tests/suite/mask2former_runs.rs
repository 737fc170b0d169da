//! Complete runs of instance segmentation: jittered, stopped, resumed, scored, predicted.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sonotune_testing::Tiny;

use crate::support::{
    self, assert_success, eval, json, last, phantoms, read_json, resume, sonotune,
};

fn write_config(folder: &Path) -> PathBuf {
    let tiny = Tiny::run(folder).without("seed").without("run_dir").without("backbone");
    tiny.data(&phantoms().join("phantoms")).with(CONFIG).write()
}

const CONFIG: &str = r#"
[augment]
scale_range = [0.1, 2.0]
[backbone]
type = "resnet"
base_channels = 8
norm_requires_grad = false
[task]
type = "mask2former"
num_queries = 8
feat_channels = 32
num_heads = 4
pixel_decoder = { num_layers = 1, feedforward_channels = 32 }
transformer_decoder = { num_layers = 3, feedforward_channels = 32 }
training = { num_points = 128 }
[schedule]
type = "multistep"
milestones = [5]
[train]
clip_grad_norm = 0.1
[evaluation]
every_steps = 2
best_metric = "segm_mAP"
[logging]
num_images = 2
"#;

fn train(config: &Path, run: &Path, more: &[&str]) {
    assert_success(&support::train(config, run, more));
}

#[test]
fn a_jittered_run_resumed_equals_one_never_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let run = |name: &str| folder.path().join(name);
    let last = |name: &str| last(&run(name));
    train(&config, &run("through"), &[]);
    train(&config, &run("resumed"), &["train.max_steps=4"]);
    assert_success(&resume(&run("resumed"), &["train.max_steps=6"]));
    assert!(last("through") == last("resumed"));
    train(&config, &run("other"), &["seed=1"]);
    assert!(last("through") != last("other"));
}

/// Predictions that `predict` writes get the same scores from `coco-eval` as from `eval`.
#[test]
fn predictions_scored_from_their_file_are_those_of_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path());
    let run = folder.path().join("run");
    train(&config, &run, &["train.max_steps=30", "augment.scale_range=[1.0, 1.0]"]);
    let evaluated = eval(&run, "val");
    let run = run.display().to_string();
    let predict = |name: &str, more: &[&str]| -> Value {
        let images = phantoms().join("phantoms/images").display().to_string();
        let out = folder.path().join(name);
        let shown = out.display().to_string();
        let args = ["predict", &images, "--run", &run, "--out", &shown, "--no-pictures"];
        assert_success(&sonotune(&[&args, more].concat()));
        read_json(&out.join("predictions.json"))
    };
    let all = predict("all", &["--min-score", "0"]);
    let sure = predict("sure", &["--min-score", "0.2"]);
    let count = |predictions: &Value| predictions["annotations"].as_array().unwrap().len();
    assert!(count(&sure) < count(&all), "{} {}", count(&sure), count(&all));

    let truth = phantoms().join("phantoms/annotations/val.json");
    let detections = folder.path().join("detections.json");
    fs::write(&detections, with_ids_of(&truth, &all).to_string()).unwrap();
    for kind in ["bbox", "segm"] {
        let (truth, detections) = (truth.display().to_string(), detections.display().to_string());
        let args = ["coco-eval", &truth, &detections, "--iou-type", kind, "--json"];
        let more = ["--max-dets", "100,300,1000", "--mask-area"];
        let scored = json(&sonotune(&[&args[..], &more].concat()));
        let stats = scored["stats"].as_array().unwrap();
        // COCO's order: AP, AP50, AP75, small, medium, large.
        let names = ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"];
        for (name, stat) in names.iter().zip(stats) {
            let name = format!("{kind}_{name}");
            let metrics = evaluated["report"]["metrics"].as_array().unwrap();
            let metric = metrics.iter().find(|m| m["name"] == name.as_str()).unwrap();
            let expected = metric["value"].as_f64().unwrap_or(-1.0);
            let got = stat["value"].as_f64().or(stat.as_f64()).unwrap_or(-1.0);
            // Boxes are written with two decimals.
            assert!((got - expected).abs() < 1e-6, "{name}: {got}, {expected}");
        }
    }
}

/// Predictions of the images of `truth`, under its image ids.
fn with_ids_of(truth: &Path, predictions: &Value) -> Value {
    let truth = read_json(truth);
    let name = |image: &Value| {
        let name = image["file_name"].as_str().unwrap();
        name.rsplit('/').next().unwrap().to_owned()
    };
    let ids: HashMap<String, Value> = truth["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (name(image), image["id"].clone()))
        .collect();
    let theirs: HashMap<String, String> = predictions["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (image["id"].to_string(), name(image)))
        .collect();
    let of_truth = predictions["annotations"].as_array().unwrap().iter().filter_map(|found| {
        let mut found = found.clone();
        found["image_id"] = ids.get(&theirs[&found["image_id"].to_string()])?.clone();
        Some(found)
    });
    of_truth.collect()
}
