//! COCO's metric against the reference's own scores.

use std::path::Path;

use serde_json::{self, Value};
use sonotune_base::Rle;
use sonotune_metrics::coco::{CocoEvaluator, Detection, IouType, Params, Query, Truth};
use sonotune_run::{CocoEvalOptions, coco_eval};

use sonotune_testing::shared;

/// The reference prints three decimals.
const PRINTED: f64 = 5e-4;

const REFERENCE_MAX_DETS: [usize; 3] = [100, 300, 1000];
const REFERENCE_NAMES: [&str; 6] = ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"];

fn xywh(xyxy: &Value) -> [f64; 4] {
    let [x0, y0, x1, y1] = numbers(xyxy).try_into().unwrap();
    [x0, y0, x1 - x0, y1 - y0]
}

fn mask(segmentation: &Value) -> Rle {
    let size = numbers(&segmentation["size"]);
    let counts = segmentation["counts"].as_str().unwrap();
    Rle::from_compressed(size[0] as u32, size[1] as u32, counts).unwrap()
}

#[test]
fn the_reference_metric_is_reproduced_parity() {
    let Some(path) = shared("reference/coco_metric_sample.json") else { return };
    let Some(annotations) = shared("data/mmotu2d-sample/annotations.json") else { return };
    let read = |path: &Path| -> Value {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let (sample, truths) = (read(&path), read(&annotations));
    let found = sample["pred"].as_array().unwrap();
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("dt.json");
    std::fs::write(&file, serde_json::to_string(&as_results(found)).unwrap()).unwrap();

    for iou_type in [IouType::Bbox, IouType::Segm] {
        let mut params = Params::new(iou_type, 1);
        params.max_dets = REFERENCE_MAX_DETS.to_vec();
        let mut evaluator = CocoEvaluator::new(params).unwrap();
        for image in truths["images"].as_array().unwrap() {
            add_image(&mut evaluator, &image["id"], &truths, found);
        }
        let result = evaluator.finish();
        let record = coco_eval(&CocoEvalOptions {
            ground_truth: annotations.clone(),
            detections: file.clone(),
            iou_type,
            max_dets: REFERENCE_MAX_DETS.to_vec(),
            class_agnostic: false,
            mask_area: true,
        })
        .unwrap();
        assert_eq!(record.stats, result.stats());
        for (name, ours) in REFERENCE_NAMES.iter().zip(result.stats()) {
            let key = format!("coco/{}_{name}", iou_type.as_str());
            let theirs = sample["result"][&key].as_f64().unwrap();
            assert!((ours - theirs).abs() <= PRINTED, "{key}: {ours} against {theirs}");
        }
        if iou_type == IouType::Segm {
            let ours = result.average_precision(&Query { category: Some(0), ..Query::default() });
            let theirs = sample["result"]["coco/object_precision"].as_f64().unwrap();
            assert!((ours - theirs).abs() <= PRINTED, "{ours} against {theirs}");
        }
    }
}

/// The reference's predictions as a result file.
fn as_results(found: &[Value]) -> Vec<Value> {
    let entry = |one: &Value| {
        let mut entry = one.clone();
        entry["bbox"] = serde_json::json!(xywh(&one["bbox_xyxy"]));
        entry
    };
    found.iter().map(entry).collect()
}

fn add_image(evaluator: &mut CocoEvaluator, id: &Value, truths: &Value, found: &[Value]) {
    let of_image = |entry: &&Value| entry["image_id"] == *id;
    let objects: Vec<&Value> =
        truths["annotations"].as_array().unwrap().iter().filter(of_image).collect();
    let found: Vec<&Value> = found.iter().filter(of_image).collect();
    let masks = |entries: &[&Value]| -> Vec<Rle> {
        entries.iter().map(|entry| mask(&entry["segmentation"])).collect()
    };
    let (truth_masks, found_masks) = (masks(&objects), masks(&found));
    let truths: Vec<Truth<'_>> = objects
        .iter()
        .zip(&truth_masks)
        .map(|(object, mask)| Truth {
            category: 0,
            bbox: numbers(&object["bbox"]).try_into().unwrap(),
            area: object["area"].as_f64().unwrap(),
            is_crowd: object["iscrowd"] == 1,
            mask: Some(mask),
        })
        .collect();
    let detections: Vec<Detection<'_>> = found
        .iter()
        .zip(&found_masks)
        .map(|(one, mask)| Detection {
            category: 0,
            score: one["score"].as_f64().unwrap(),
            bbox: xywh(&one["bbox_xyxy"]),
            area: None,
            mask: Some(mask),
        })
        .collect();
    evaluator.add_image(&truths, &detections).unwrap();
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}
