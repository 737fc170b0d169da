//! Datasets, results and prompts as a run reads them.

use std::path::Path;

use serde_json::json;
use sonotune_base::ErrorKind;
use sonotune_dataset::{
    Dataset, DatasetConfig, PromptFile, Split,
    coco_dataset::{CocoResults, CocoTruths},
};
use sonotune_metrics::coco::IouType;
use sonotune_run::{CocoEvalOptions, coco_eval};

use super::super::targets::{accepted, masks::use_segmentation, scratch};

const NAME: &str = "hostile";

fn open(kind: &str, path: &Path, keys: &[(&str, serde_json::Value)]) -> anyhow::Result<Dataset> {
    let mut table = json!({ "type": kind, "train": path, "check_files": "none" });
    for (key, value) in keys {
        table[key] = value.clone();
    }
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table).expect("a dataset's config");
    config.open(Split::Train)
}

/// A COCO file to train on, and to score against.
pub fn coco_dataset(bytes: &[u8]) {
    let path = scratch::file("hostile.json", bytes);
    let dataset = accepted(open("coco", &path, &[]), ErrorKind::Data, NAME);
    for record in dataset.iter().flat_map(|dataset| &dataset.records) {
        for object in &record.objects {
            let size = record.size.or(object.segmentation.size()).unwrap_or((4, 4));
            use_segmentation(&object.segmentation, size, object.bbox);
        }
    }
    if let Some(dataset) = dataset {
        assert!(!dataset.summary().is_empty());
        let agnostic =
            open("coco", &path, &[("agnostic", true.into()), ("keep_empty", false.into())]);
        if let Some(agnostic) = accepted(agnostic, ErrorKind::Data, NAME) {
            assert!(agnostic.records.len() <= dataset.records.len());
        }
    }
    if accepted(CocoTruths::read(&path, true), ErrorKind::Data, NAME).is_some() {
        let found = scratch::file("hostile_found.json", b"[]");
        score(&path, &found);
    }
}

/// What [`coco_results`] are compared with.
const TRUTH: &str = include_str!("../../../tests/fixtures/coco/hostile_truth.json");

/// A COCO result file.
pub fn coco_results(bytes: &[u8]) {
    let truth = scratch::file("hostile_truth.json", TRUTH.as_bytes());
    let path = scratch::file("hostile_found.json", bytes);
    let truths = CocoTruths::read(&truth, true).expect("the ground truth is in order");
    let results = CocoResults::read(&path).expect("the file is there");
    let found = accepted(results.detections(&path, &truths, true), ErrorKind::Data, NAME);
    if let Some((found, _)) = found {
        for object in &found {
            let _ = object.segmentation();
        }
        score(&truth, &path);
    }
}

fn score(truth: &Path, found: &Path) {
    for iou_type in [IouType::Bbox, IouType::Segm] {
        let options = CocoEvalOptions {
            ground_truth: truth.to_owned(),
            detections: found.to_owned(),
            iou_type,
            max_dets: vec![1, 10, 100],
            class_agnostic: false,
            mask_area: iou_type == IouType::Segm,
        };
        if let Some(record) = accepted(coco_eval(&options), ErrorKind::Data, NAME) {
            // -1 stands for what no object can be scored by.
            assert!(record.stats.iter().all(|s| (-1.0..=1.0).contains(s)), "{:?}", record.stats);
        }
    }
}

/// Prompts as JSON and as CSV.
pub fn prompt_file(bytes: &[u8]) {
    for name in ["hostile.json", "hostile.csv"] {
        let path = scratch::file(name, bytes);
        let Some(file) = accepted(PromptFile::read(&path), ErrorKind::Data, NAME) else { continue };
        for object in file.images.iter().flat_map(|image| &image.objects) {
            for size in [(5, 6), (480, 640)] {
                let mut prompt = object.prompt.clone();
                let _ = accepted(prompt.check(size), ErrorKind::Data, "");
                let _ = accepted(prompt.rasterized_mask(size), ErrorKind::Data, "");
                let _ = prompt.clip_box(size);
            }
        }
    }
}

/// A list of images and labels.
pub fn list_file(bytes: &[u8]) {
    let path = scratch::file("hostile.txt", bytes);
    if let Some(dataset) = accepted(open("list_file", &path, &[]), ErrorKind::Data, NAME) {
        let classes = dataset.categories.len();
        for record in &dataset.records {
            assert!(record.image_labels.iter().all(|&label| (label as usize) < classes));
        }
        assert!(classes <= 10 * bytes.len() + 101);
    }
    let names = json!(["benign", "malignant", "a,b", "7"]);
    let _ = accepted(open("list_file", &path, &[("categories", names)]), ErrorKind::Data, NAME);
}
