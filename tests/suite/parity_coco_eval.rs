//! COCO's metric against pycocotools.

use std::{fmt::Write as _, path::Path, process::Command};

use serde_json::{self, Value};
use sonotune_base::{Rle, seed::Rng};
use sonotune_metrics::coco::IouType;
use sonotune_run::{CocoEvalOptions, CocoEvalRecord, coco_eval};

use crate::support::python;

/// Both sides do the same arithmetic in fp64; only the order of summing means differs.
const TOLERANCE: f64 = 1e-12;

/// How a problem spells ids.
#[derive(Clone, Copy)]
enum Ids {
    Small,
    /// Beyond 64 bits, as US-43d's tools write them.
    Huge,
    Text,
}

/// Ground truth and detections with all kinds of difficulties.
struct Problem {
    ground_truth: String,
    detections: String,
}

fn id(kind: Ids, index: u64) -> String {
    // Scrambled, so that the order of the file is not that of the ids.
    let scrambled = index.wrapping_mul(7919) % 1009 + 1;
    match kind {
        Ids::Small => scrambled.to_string(),
        Ids::Huge => (u128::from(scrambled) << 100 | 12345).to_string(),
        Ids::Text => format!("\"scan {scrambled}\""),
    }
}

/// An ellipse somewhere in an image of `(height, width)`.
fn ellipse(rng: &mut Rng, (height, width): (u32, u32)) -> Rle {
    let (h, w) = (f64::from(height), f64::from(width));
    let (cy, cx) = (rng.uniform() * h, rng.uniform() * w);
    let (ry, rx) = (2.0 + rng.uniform() * h / 2.5, 2.0 + rng.uniform() * w / 2.5);
    ellipse_at((cy, cx), (ry, rx), (height, width))
}

fn ellipse_at((cy, cx): (f64, f64), (ry, rx): (f64, f64), (height, width): (u32, u32)) -> Rle {
    let mask: Vec<u8> = (0..height * width)
        .map(|i| {
            let (y, x) = (f64::from(i / width) - cy, f64::from(i % width) - cx);
            u8::from((y / ry).powi(2) + (x / rx).powi(2) < 1.0)
        })
        .collect();
    Rle::from_mask(&mask, (height, width)).unwrap()
}

/// A mask near another: the same, shifted, or grown.
fn like(rng: &mut Rng, rle: &Rle) -> Rle {
    let [x, y, w, h] = rle.bbox();
    let mut near = |value: f64, by: f64| value + by * (rng.uniform() - 0.5) * 0.5;
    let center = (near(y + h / 2.0, h), near(x + w / 2.0, w));
    let radii = (near(h / 2.0, h).max(1.0), near(w / 2.0, w).max(1.0));
    ellipse_at(center, radii, (rle.height, rle.width))
}

fn segmentation(rng: &mut Rng, rle: &Rle, is_crowd: bool) -> String {
    let size = format!("\"size\": [{}, {}]", rle.height, rle.width);
    if is_crowd || rng.uniform() < 0.2 {
        return format!("{{{size}, \"counts\": {:?}}}", rle.counts);
    }
    if rng.uniform() < 0.3 {
        let [x, y, w, h] = rle.bbox();
        let (x1, y1) = (x + w * 0.9, y + h * 1.03);
        return format!("[[{x:?}, {y:?}, {x1:?}, {y:?}, {x1:?}, {y1:?}, {x:?}, {y1:?}]]");
    }
    let counts = serde_json::to_string(&rle.to_compressed()).unwrap();
    format!("{{{size}, \"counts\": {counts}}}")
}

fn boxed(rng: &mut Rng, rle: &Rle) -> String {
    let mut bbox = rle.bbox();
    if rng.uniform() < 0.5 {
        for side in &mut bbox {
            *side = (*side + rng.uniform() * 7.0).abs();
        }
    }
    format!("{bbox:?}")
}

fn problem(seed: u64) -> Problem {
    let rng = &mut Rng::at(41, &[seed]);
    let kind = [Ids::Small, Ids::Huge, Ids::Text][(seed % 3) as usize];
    // Detections with a box, a box and a mask, or a mask alone.
    let form = seed / 3 % 3;
    let num_categories = 1 + rng.below(4);
    let few_scores = seed.is_multiple_of(2);
    let (mut images, mut annotations, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..4 + rng.below(14) {
        let image = id(kind, i);
        let size = (40 + rng.below(300) as u32, 40 + rng.below(300) as u32);
        images.push(format!(
            "{{\"id\": {image}, \"height\": {}, \"width\": {}, \"file_name\": \"{i}.png\"}}",
            size.0, size.1
        ));
        // Some without objects, some without detections, some with neither.
        let num_objects = if rng.uniform() < 0.25 { 0 } else { rng.below(7) };
        let mut masks = Vec::new();
        for _ in 0..num_objects {
            // The same object twice makes ties in overlap.
            let rle = match masks.last() {
                Some(last) if rng.uniform() < 0.15 => Rle::clone(last),
                _ => ellipse(rng, size),
            };
            let is_crowd = rng.uniform() < 0.2;
            let area = rle.area() as f64 * if rng.uniform() < 0.3 { 0.37 } else { 1.0 };
            annotations.push(format!(
                "{{\"id\": {}, \"image_id\": {image}, \"category_id\": {}, \"bbox\": {}, \
                 \"area\": {area:?}, \"iscrowd\": {}, \"segmentation\": {}}}",
                match kind {
                    Ids::Small | Ids::Text => (annotations.len() + 1).to_string(),
                    Ids::Huge => (u128::MAX - annotations.len() as u128).to_string(),
                },
                // The last category has detections only.
                1 + rng.below(num_categories.max(2) - 1),
                boxed(rng, &rle),
                u8::from(is_crowd),
                segmentation(rng, &rle, is_crowd),
            ));
            masks.push(rle);
        }
        let num_detections = if rng.uniform() < 0.2 { 0 } else { rng.below(40) };
        for _ in 0..num_detections {
            let near = !masks.is_empty() && rng.uniform() < 0.7;
            let rle = if near {
                let original = &masks[rng.below(masks.len() as u64) as usize];
                if rng.uniform() < 0.3 { original.clone() } else { like(rng, original) }
            } else {
                ellipse(rng, size)
            };
            let score = if few_scores { rng.below(5) as f64 / 4.0 } else { rng.uniform() };
            let mut one = format!(
                "{{\"image_id\": {image}, \"category_id\": {}, \"score\": {score:?}",
                1 + rng.below(num_categories)
            );
            if form != 2 {
                write!(one, ", \"bbox\": {}", boxed(rng, &rle)).unwrap();
            }
            if form != 0 {
                let counts = serde_json::to_string(&rle.to_compressed()).unwrap();
                let (h, w) = size;
                write!(one, ", \"segmentation\": {{\"size\": [{h}, {w}], \"counts\": {counts}}}")
                    .unwrap();
            }
            found.push(one + "}");
        }
    }
    let categories: Vec<String> = (1..=num_categories)
        .rev()
        .map(|k| format!("{{\"id\": {k}, \"name\": \"class {k}\"}}"))
        .collect();
    Problem {
        ground_truth: format!(
            "{{\"images\": [{}],\n\"annotations\": [{}],\n\"categories\": [{}]}}",
            images.join(",\n"),
            annotations.join(",\n"),
            categories.join(",\n")
        ),
        detections: format!("[{}]", found.join(",\n")),
    }
}

const SETTINGS: [(IouType, bool, [usize; 3]); 6] = [
    (IouType::Bbox, false, [1, 10, 100]),
    (IouType::Segm, false, [1, 10, 100]),
    (IouType::Bbox, true, [1, 10, 100]),
    (IouType::Segm, true, [1, 10, 100]),
    (IouType::Bbox, false, [100, 300, 1000]),
    (IouType::Segm, true, [2, 5, 20]),
];

/// Prints, for every problem and setting, the twelve figures and each category's precision.
const PYCOCOTOOLS: &str = r#"
import contextlib, io, json, sys
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
results = []
for folder in sys.argv[2:]:
    for iou_type, agnostic, max_dets in json.loads(sys.argv[1]):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(folder + '/gt.json')
            evaluation = COCOeval(truth, truth.loadRes(folder + '/dt.json'), iou_type)
            evaluation.params.useCats = int(not agnostic)
            evaluation.params.maxDets = max_dets
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        precision = evaluation.eval['precision'][:, :, :, 0, -1]
        classes = [p[p > -1].mean() if (p > -1).any() else -1.0
                   for p in np.moveaxis(precision, 2, 0)]
        results.append([list(evaluation.stats), [] if agnostic else classes])
print(json.dumps(results))
"#;

fn score(
    folder: &Path,
    (iou_type, class_agnostic, max_dets): (IouType, bool, [usize; 3]),
) -> CocoEvalRecord {
    coco_eval(&CocoEvalOptions {
        ground_truth: folder.join("gt.json"),
        detections: folder.join("dt.json"),
        iou_type,
        max_dets: max_dets.to_vec(),
        class_agnostic,
        mask_area: false,
    })
    .unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

fn assert_equal(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= TOLERANCE, "{what}, number {i}: {a} against pycocotools' {b}");
    }
}

#[test]
fn random_problems_equal_pycocotools_parity() {
    const PROBLEMS: u64 = 24;
    let Some(python) = python(&["pycocotools", "numpy"]) else { return };
    let root = tempfile::tempdir().unwrap();
    let folders: Vec<_> = (0..PROBLEMS)
        .map(|seed| {
            let folder = root.path().join(seed.to_string());
            std::fs::create_dir(&folder).unwrap();
            let problem = problem(seed);
            std::fs::write(folder.join("gt.json"), problem.ground_truth).unwrap();
            std::fs::write(folder.join("dt.json"), problem.detections).unwrap();
            folder
        })
        .collect();
    let settings = serde_json::to_string(&SETTINGS).unwrap();
    let output =
        Command::new(python).args(["-c", PYCOCOTOOLS, &settings]).args(&folders).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Vec<[Value; 2]> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs.len(), folders.len() * SETTINGS.len());

    let mut defined = [0; 12];
    for (i, [stats, classes]) in theirs.iter().enumerate() {
        let (seed, setting) = (i / SETTINGS.len(), SETTINGS[i % SETTINGS.len()]);
        let record = score(&folders[seed], setting);
        let what = format!("problem {seed}, {setting:?}");
        assert_equal(&record.stats, &numbers(stats), &what);
        for (count, stat) in defined.iter_mut().zip(record.stats) {
            *count += usize::from(stat > 0.0);
        }
        // Precision at the last of max_dets, which is the first figure only if that is 100.
        if setting.2[2] == 100 {
            let ours: Vec<f64> = record.per_class.iter().map(|class| class.stats[0]).collect();
            assert_equal(&ours, &numbers(classes), &format!("{what}, per class"));
        }
    }
    // Comparing nothing with nothing would also pass.
    assert!(defined.iter().all(|&count| count > 40), "{defined:?}");
}

#[test]
fn the_verb_prints_pycocotools_figures_as_json_parity() {
    let root = tempfile::tempdir().unwrap();
    let problem = problem(4);
    std::fs::write(root.path().join("gt.json"), problem.ground_truth).unwrap();
    std::fs::write(root.path().join("dt.json"), problem.detections).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sonotune"))
            .args(["coco-eval", "gt.json", "dt.json"])
            .args(arguments)
            .current_dir(root.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = run(&["--iou-type", "segm", "--json", "--out", "scores.json"]);
    let record: Value = serde_json::from_str(&printed).unwrap();
    let setting = (IouType::Segm, false, [1, 10, 100]);
    assert_equal(&numbers(&record["stats"]), &score(root.path(), setting).stats, "through JSON");
    let written = std::fs::read_to_string(root.path().join("scores.json")).unwrap();
    assert_eq!(written, printed.trim_end());
    for key in ["annotations_sha256", "detections_sha256"] {
        assert_eq!(record[key].as_str().unwrap().len(), 64);
    }
    let text = run(&[]);
    assert!(
        text.starts_with(
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = "
        ),
        "{text}"
    );
    assert!(text.contains("class 1"), "{text}");
}
