//! What `sonotune predict` writes for a promptable model, and which programs can read it.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{
    prompts_support::{Place, Trained, answers, list},
    support::{
        assert_contains, assert_fails, assert_success, json, python, read_json, sonotune, stdout,
    },
};

#[test]
fn annotated_objects_are_asked_about_and_keep_their_ids() {
    let (place, trained) = (Place::new(), Trained::get());
    let truth = read_json(Path::new(&trained.annotations()));
    let on_test = |out: &str, more: &[&str]| {
        let annotations = trained.annotations();
        let all = [&["--annotations", annotations.as_str(), "--no-pictures"], more].concat();
        place.predict_images(&trained.data(""), out, &all)
    };
    let printed = stdout(&on_test("boxes", &[]));
    assert!(printed.contains("without prompts left out"), "{printed}");
    let document = place.json("boxes");
    let key = |list: &[Value], keys: &[&str]| -> Vec<String> {
        list.iter().map(|v| keys.iter().map(|k| format!("{} ", v[*k])).collect()).collect()
    };
    let images = ["id", "file_name", "width", "height"];
    assert_eq!(key(list(&document, "images"), &images), key(list(&truth, "images"), &images));
    let objects = ["image_id", "category_id"];
    let found = list(&document, "annotations");
    assert_eq!(key(found, &objects), key(list(&truth, "annotations"), &objects));
    assert_eq!(
        key(list(&document, "categories"), &["id", "name"]),
        key(list(&truth, "categories"), &["id", "name"])
    );
    assert!(document["info"]["prompts"].as_str().unwrap().starts_with("box of the objects in"));

    assert_success(&on_test("clicks", &["--protocol", "clicks"]));
    assert_eq!(list(&place.json("clicks"), "annotations").len(), found.len());
    assert_success(&on_test("centre", &["--protocol", "center_point"]));
    assert_ne!(answers(&place.json("centre")), answers(&document));
    let unknown = on_test("x", &["--protocol", "boxes"]);
    assert_fails(&unknown, 2, &["task.evaluation.protocols", "boxes", "center_point"]);

    // A single image: only its own annotations count.
    let file_name = truth["images"][0]["file_name"].as_str().unwrap();
    let single = trained.data(file_name);
    let annotations = trained.annotations();
    assert_success(&place.predict_images(&single, "one", &["--annotations", &annotations]));
    assert_eq!(list(&place.json("one"), "images").len(), 1);
    assert_eq!(place.json("one")["images"][0]["id"], truth["images"][0]["id"]);
    // Images that the file names must exist.
    let other = place.predict("x", &["--annotations", &annotations]);
    assert_fails(&other, 3, &["test.json", "there is no image", "missing"]);
}

fn coco_eval(truth: &str, found: &str, kind: &str) -> Value {
    json(&sonotune(&["coco-eval", truth, found, "--iou-type", kind, "--json"]))
}

#[test]
fn predictions_are_scored_and_trained_on_as_they_are() {
    let (place, trained) = (Place::new(), Trained::get());
    let truth = trained.annotations();
    let images = trained.data("");
    let ask = ["--annotations", truth.as_str(), "--no-pictures"];
    assert_success(&place.predict_images(&images, "out", &ask));
    let found = place.path("out/predictions.json");
    for kind in ["bbox", "segm"] {
        assert_eq!(list(&coco_eval(&truth, &found, kind), "stats").len(), 12);
        // Scored against themselves, the predictions are perfect.
        let scores = coco_eval(&found, &found, kind);
        assert!(scores["stats"][0].as_f64().unwrap() > 0.999, "{scores}");
    }
    let config = trained.config("again.toml", &found, "");
    let run = format!("run_dir={}", place.path("again"));
    assert_success(&sonotune(&["train", &config, &run, "train.max_steps=1"]));
    assert_success(&sonotune(&["data", "check", &config]));
}

#[test]
fn pycocotools_reads_the_predictions_as_ground_truth_and_as_results() {
    let Some(python) = python(&["pycocotools", "numpy"]) else { return };
    let (place, trained) = (Place::new(), Trained::get());
    let truth = trained.annotations();
    let ask = ["--annotations", truth.as_str(), "--no-pictures"];
    assert_success(&place.predict_images(&trained.data(""), "out", &ask));
    let code = r"
import json, sys
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
truth, found = sys.argv[1:]
own = COCO(found)
for id, ann in own.anns.items():
    mask = own.annToMask(ann)
    assert mask.sum() == ann['area'], ann
    if ann['area']:
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        x, y, w, h = ann['bbox']
        assert box == [x, y, x + w, y + h], ann
results = COCO(truth).loadRes(json.load(open(found))['annotations'])
for kind in ('bbox', 'segm'):
    e = COCOeval(COCO(truth), results, kind)
    e.evaluate(); e.accumulate(); e.summarize()
    print('STATS', json.dumps(list(e.stats)))
";
    let found = place.path("out/predictions.json");
    let output = Command::new(python).args(["-c", code, &truth, &found]).output().unwrap();
    let printed = stdout(&output);
    let theirs: Vec<Vec<f64>> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("STATS "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(theirs.len(), 2);
    for (kind, theirs) in ["bbox", "segm"].into_iter().zip(theirs) {
        let ours = coco_eval(&truth, &found, kind);
        for (ours, theirs) in list(&ours, "stats").iter().zip(theirs) {
            assert!((ours.as_f64().unwrap() - theirs).abs() < 1e-12);
        }
    }
}

#[test]
fn everything_finds_masks_that_differ() {
    let place = Place::new();
    let easy = [
        "--everything",
        "task.everything.points_per_side=8",
        "task.everything.pred_iou_thresh=-10.0",
        "task.everything.stability_score_thresh=0.0",
    ];
    let image = Trained::get().data("images/000000.png");
    assert_success(&place.predict_images(&image, "all", &easy));
    let document = place.json("all");
    let found = list(&document, "annotations");
    assert!(found.len() > 2 && list(&document, "images").len() == 1, "{}", found.len());
    assert!(found.iter().all(|a| a["area"].as_f64().unwrap() >= 16.0 && a["prompt"].is_null()));
    assert_eq!(document["categories"].as_array().unwrap().len(), 1);
    assert_eq!(document["categories"][0]["name"], "object");
    let of_first: Vec<_> = found.iter().filter(|a| a["image_id"] == 1).collect();
    let scores: Vec<_> = of_first.iter().map(|a| a["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    // No mask passes an impossible filter, which is not an error.
    let strict = ["--everything", "--no-pictures", "task.everything.pred_iou_thresh=10.0"];
    let printed = stdout(&place.predict("none", &strict));
    assert_contains(&printed, &["2 image(s), 0 object(s),", "2 image(s) without an object"]);
    assert_eq!(list(&place.json("none"), "annotations").len(), 0);
    assert_eq!(list(&place.json("none"), "images").len(), 2);
    assert_eq!(place.rows("none").len(), 1);
}
