//! What a person would have to click: the ground truth answers for them.
//!
//! `clicks RUN_DIR|CONFIG.toml COCO.json IMAGES click|box MOST_CLICKS [KEY=VALUE…]` asks the model about each object of the
//! file until its answer has an IoU of 0.9. The first prompt is the pixel deepest within the object, or its box; each further click goes into the middle of
//! the largest wrong region, as the literature on interactive segmentation has it. Prints an object per line as JSON:
//! the IoU after each prompt and the milliseconds that each answer took.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use classification as _;
use mask2former as _;
use sam_prompt as _;
use serde_json::json;
use sonotune_base::{Rle, Segmentation};
use sonotune_dataset::{
    DatasetConfig, ObjectPrompt, PointPrompt, Split,
    coco_dataset::{CheckFiles, CocoConfig, CocoSplit, ImageLabel},
    pixels::ImageFile,
};
use sonotune_metrics::overlap::iou;
use sonotune_run::{Live, LiveImage, ModelSource, config};

/// The IoU that a person is content with.
const GOOD: f64 = 0.9;

/// An image of one object's pixels, row by row.
struct Region {
    size: (usize, usize),
    inside: Vec<bool>,
}

impl Region {
    fn of(mask: &Rle) -> Self {
        let inside = mask.to_mask().into_iter().map(|value| value != 0).collect();
        Self { size: (mask.height as usize, mask.width as usize), inside }
    }

    /// Pixels that `self` has and `other` lacks.
    fn without(&self, other: &Self) -> Self {
        let inside = self.inside.iter().zip(&other.inside).map(|(a, b)| *a && !*b).collect();
        Self { size: self.size, inside }
    }

    fn neighbours(&self, at: usize) -> impl Iterator<Item = usize> {
        let (height, width) = self.size;
        let (y, x) = (at / width, at % width);
        let up = (y > 0).then(|| at - width);
        let down = (y + 1 < height).then_some(at + width);
        let left = (x > 0).then(|| at - 1);
        let right = (x + 1 < width).then_some(at + 1);
        [up, down, left, right].into_iter().flatten()
    }

    /// The largest connected part: its area, and its pixel farthest from the edge (in steps along the axes).
    fn middle(&self) -> Option<(usize, (usize, usize))> {
        let (height, width) = self.size;
        let is_edge = |at: usize| {
            let (y, x) = (at / width, at % width);
            y == 0 || x == 0 || y + 1 == height || x + 1 == width
        };
        let mut depth = vec![usize::MAX; self.inside.len()];
        let mut queue = VecDeque::new();
        for (at, depth) in depth.iter_mut().enumerate() {
            let outside_near = self.neighbours(at).any(|next| !self.inside[next]);
            if self.inside[at] && (is_edge(at) || outside_near) {
                *depth = 1;
                queue.push_back(at);
            }
        }
        while let Some(at) = queue.pop_front() {
            for next in self.neighbours(at).filter(|&next| self.inside[next]) {
                if depth[next] == usize::MAX {
                    depth[next] = depth[at] + 1;
                    queue.push_back(next);
                }
            }
        }
        let mut seen = vec![false; self.inside.len()];
        let mut best: Option<(usize, usize)> = None;
        for start in 0..self.inside.len() {
            if !self.inside[start] || seen[start] {
                continue;
            }
            let (mut area, mut deepest, mut open) = (0, start, vec![start]);
            seen[start] = true;
            while let Some(at) = open.pop() {
                area += 1;
                if depth[at] > depth[deepest] {
                    deepest = at;
                }
                for next in self.neighbours(at).filter(|&next| self.inside[next]) {
                    if !std::mem::replace(&mut seen[next], true) {
                        open.push(next);
                    }
                }
            }
            if best.is_none_or(|(largest, _)| area > largest) {
                best = Some((area, deepest));
            }
        }
        best.map(|(area, at)| (area, (at % width, at / width)))
    }
}

/// The next click: into the larger of what is missing and what is too much.
fn next_click(truth: &Region, answer: &Region) -> Option<PointPrompt> {
    let missing = truth.without(answer).middle();
    let surplus = answer.without(truth).middle();
    let positive = missing.map_or(0, |(area, _)| area) >= surplus.map_or(0, |(area, _)| area);
    let (_, (x, y)) = if positive { missing } else { surplus }?;
    Some(PointPrompt { x: x as f64, y: y as f64, positive })
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, coco, images, first, most, overrides @ ..] = &arguments[..] else {
        bail!(
            "usage: clicks RUN_DIR|CONFIG.toml COCO.json IMAGES click|box MOST_CLICKS [KEY=VALUE…]"
        );
    };
    let most: usize = most.parse().context("MOST_CLICKS")?;
    let model = Path::new(model);
    let (file, source) = match model.is_dir() {
        true => (model.join("config.toml"), ModelSource::BestOrLast),
        false => (model.to_owned(), ModelSource::Pretrained),
    };
    let live = Live::open(config::load_for_prediction(&file, overrides)?, source)?;
    let test = CocoSplit { annotations: PathBuf::from(coco), images: None };
    let dataset = CocoConfig {
        root: PathBuf::new(),
        images: PathBuf::from(images),
        train: None,
        val: None,
        test: Some(test),
        categories: None,
        ignore_categories: Vec::new(),
        exclude: Vec::new(),
        values: Vec::new(),
        agnostic: false,
        image_label: ImageLabel::None,
        keep_empty: false,
        check_files: CheckFiles::default(),
    }
    .open(Split::Test)?;
    for record in &dataset.records {
        let image =
            LiveImage { file: ImageFile::new(&record.path, record.frame), version: "1".to_owned() };
        let size = record.size.context("an image without a size")?;
        for (object, annotated) in record.objects.iter().enumerate() {
            let truth = annotated.segmentation.rasterize(size, annotated.bbox)?;
            let region = Region::of(&truth);
            let Some((_, (x, y))) = region.middle() else { continue };
            let [left, top, width, height] = annotated.bbox;
            let by_box = first == "box";
            let mut prompt = ObjectPrompt {
                points: Vec::new(),
                bbox: by_box.then_some([left, top, left + width, top + height]),
                ..ObjectPrompt::default()
            };
            if !by_box {
                prompt.points.push(PointPrompt { x: x as f64, y: y as f64, positive: true });
            }
            let (mut ious, mut milliseconds) = (Vec::new(), Vec::new());
            for _ in 0..most {
                let asked = Instant::now();
                let answer = live.answer(&image, Some(vec![prompt.clone()]))?;
                milliseconds.push(asked.elapsed().as_secs_f64() * 1e3);
                let found = answer.prediction.instances.first().context("no answer")?;
                let mask = found.mask.as_ref().context("an answer without a mask")?;
                let reached = iou(&truth, mask)?.unwrap_or_default();
                ious.push(reached);
                if reached >= GOOD {
                    break;
                }
                let Some(click) = next_click(&region, &Region::of(mask)) else { break };
                prompt.points.push(click);
                // As the annotation page asks: with all clicks so far and the mask that they gave.
                prompt.mask = (mask.area() > 0).then(|| Segmentation::Runs(mask.clone()));
            }
            let name = record.path.file_name().unwrap_or_default().to_string_lossy();
            println!(
                "{}",
                json!({ "file": name, "object": object, "ious": ious, "milliseconds": milliseconds })
            );
        }
    }
    Ok(())
}
