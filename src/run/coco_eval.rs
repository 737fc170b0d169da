//! Scores a COCO result file against a COCO ground truth: no model, no config.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use rayon::prelude::*;
use serde::Serialize;

use sonotune_base::{Error, ImageId, Rle, Segmentation};
use sonotune_dataset::{
    coco_dataset::{CocoResults, CocoTruths, FoundObject, TruthImage},
    shares::Shares,
};
use sonotune_metrics::coco::{
    CocoEvaluator, CocoResult, Detection, ImageMatches, IouType, Params, Truth, stat_names,
};

/// What to score, and how.
#[derive(Debug, Clone)]
pub struct CocoEvalOptions {
    pub ground_truth: PathBuf,
    pub detections: PathBuf,
    pub iou_type: IouType,
    /// Ascending; see [`Params::max_dets`].
    pub max_dets: Vec<usize>,
    /// Treats all categories as one.
    pub class_agnostic: bool,
    /// For [`IouType::Segm`]: the area of a detection is its mask's, as in mmdetection, even if the
    /// file gives a box, whose area pycocotools uses.
    pub mask_area: bool,
}

/// The scores with everything needed to interpret them.
#[derive(Debug, Clone, Serialize)]
pub struct CocoEvalRecord {
    pub iou_type: IouType,
    pub max_dets: Vec<usize>,
    pub class_agnostic: bool,
    /// pycocotools' twelve figures in its order; -1 if there are no objects.
    pub stats: [f64; 12],
    /// `AP`, `AP50`, …, `AR@100`, …
    pub stat_names: [String; 12],
    /// By category, ascending by id; empty if all are treated as one.
    pub per_class: Vec<CategoryScores>,
    pub counts: CocoCounts,
    pub ground_truth: PathBuf,
    /// SHA-256 of the ground truth's file.
    pub annotations_sha256: String,
    pub detections: PathBuf,
    /// SHA-256 of the result file.
    pub detections_sha256: String,
    /// What a reader of the scores should know about the files and options.
    pub notes: Vec<String>,
}

/// Scores of one category.
#[derive(Debug, Clone, Serialize)]
pub struct CategoryScores {
    pub id: ImageId,
    pub name: String,
    pub objects: usize,
    pub detections: usize,
    /// Same as [`CocoEvalRecord::stats`].
    pub stats: [f64; 12],
}

/// What was scored.
#[derive(Debug, Clone, Serialize)]
pub struct CocoCounts {
    pub images: usize,
    pub images_without_objects: usize,
    /// Number of objects, including crowds.
    pub objects: usize,
    pub crowds: usize,
    /// All detections in the file, including those beyond the largest of `max_dets`.
    pub detections: usize,
}

/// Scores the result file.
///
/// # Errors
/// Of kind data, with the file and the entry; of kind config when `max_dets` is not usable.
pub fn coco_eval(options: &CocoEvalOptions) -> Result<CocoEvalRecord> {
    let with_masks = options.iou_type == IouType::Segm;
    let truths = CocoTruths::read(&options.ground_truth, with_masks)?;
    let mut params = Params::new(options.iou_type, truths.categories.len());
    params.max_dets.clone_from(&options.max_dets);
    params.class_agnostic = options.class_agnostic;
    let mut evaluator =
        CocoEvaluator::new(params).map_err(|e| Error::config(format!("--max-dets: {e}")))?;
    let seen = match_all(options, &truths, &mut evaluator)?;
    let result = evaluator.finish();

    let mut notes = truths.notes.clone();
    notes.extend(seen.shares.iter().map(|what| format!("detections: {what}")));
    if seen.num_without_mask > 0 {
        notes.push(format!(
            "{} detections have no mask: their box is used instead",
            seen.num_without_mask
        ));
    }
    if !options.max_dets.contains(&100) {
        notes.push(
            "AP, the first figure, is at 100 detections as in pycocotools; 100 is not among \
             max_dets, so it is -1"
                .to_owned(),
        );
    }
    Ok(CocoEvalRecord {
        iou_type: options.iou_type,
        max_dets: options.max_dets.clone(),
        class_agnostic: options.class_agnostic,
        stats: result.stats(),
        stat_names: stat_names(&options.max_dets),
        per_class: per_class(&truths, &result, &seen.by_category),
        counts: counts(&truths, seen.by_category.iter().sum()),
        ground_truth: options.ground_truth.clone(),
        annotations_sha256: truths.sha256,
        detections: options.detections.clone(),
        detections_sha256: seen.sha256,
        notes,
    })
}

/// What the result file contained.
struct Seen {
    sha256: String,
    /// Number of detections by category.
    by_category: Vec<usize>,
    /// Detections whose box is used as their mask.
    num_without_mask: usize,
    /// Says which boxes are not in pixels.
    shares: Option<String>,
}

/// Reads the result file and matches every image; the file's memory is freed afterwards.
fn match_all(
    options: &CocoEvalOptions,
    truths: &CocoTruths,
    evaluator: &mut CocoEvaluator,
) -> Result<Seen> {
    let with_masks = options.iou_type == IouType::Segm;
    let file = CocoResults::read(&options.detections)?;
    let (found, sha256) = file.detections(&options.detections, truths, with_masks)?;
    let rules = Rules {
        options,
        // pycocotools decides by the first entry for the whole file.
        box_area: !options.mask_area && found.first().is_some_and(|first| first.bbox.is_some()),
    };
    // Stable: equal scores of an image rank in the order of the file.
    let mut order: Vec<u32> = (0..found.len() as u32).collect();
    order.sort_by_key(|&entry| found[entry as usize].image);
    let matched: Vec<ImageMatches> = truths
        .images
        .par_iter()
        .enumerate()
        .map(|(i, image)| {
            let of = |&entry: &u32| found[entry as usize].image as usize;
            let start = order.partition_point(|entry| of(entry) < i);
            let own = order[start..].iter().take_while(|entry| of(entry) == i);
            rules.match_image(evaluator, image, own.map(|&e| (e, &found[e as usize])))
        })
        .collect::<Vec<Result<_>>>()
        .into_iter()
        // The first image's error, whichever thread came first.
        .collect::<Result<_>>()?;
    for (position, matches) in matched.into_iter().enumerate() {
        evaluator.insert(position as u64, matches);
    }
    let mut shares = Shares::default();
    for (entry, one) in found.iter().enumerate() {
        shares.add(one.bbox, &Segmentation::None, || format!("detections[{entry}]"));
    }
    Ok(Seen {
        sha256,
        shares: shares.some(),
        by_category: by_category(&found, truths.categories.len()),
        num_without_mask: found.iter().filter(|one| with_masks && !one.has_mask()).count(),
    })
}

/// How entries of the two files are turned into what the metric compares.
struct Rules<'o> {
    options: &'o CocoEvalOptions,
    /// Detections' areas are those of their boxes, even with [`IouType::Segm`].
    box_area: bool,
}

impl Rules<'_> {
    fn match_image<'a>(
        &self,
        evaluator: &CocoEvaluator,
        image: &TruthImage,
        found: impl Iterator<Item = (u32, &'a FoundObject<'a>)>,
    ) -> Result<ImageMatches> {
        let of_truths = |entry: u32| place(&self.options.ground_truth, "annotations", entry);
        let of_found = |entry: u32| place(&self.options.detections, "detections", entry);
        let mut size = image.size;
        let mut truth_masks = Vec::with_capacity(image.objects.len());
        for object in &image.objects {
            let mask = self.truth_mask(&object.segmentation, &mut size);
            truth_masks.push(mask.with_context(|| of_truths(object.entry))?);
        }
        let mut found_masks = Vec::new();
        for (entry, one) in found {
            let mask = self.found_mask(one, &mut size).with_context(|| of_found(entry))?;
            found_masks.push((one, mask));
        }
        let objects: Vec<Truth<'_>> = image
            .objects
            .iter()
            .zip(&truth_masks)
            .map(|(object, mask)| Truth {
                category: object.category as usize,
                bbox: object.bbox,
                area: object.area,
                is_crowd: object.is_crowd,
                mask: mask.as_ref(),
            })
            .collect();
        let detections: Vec<Detection<'_>> =
            found_masks.iter().map(|(one, mask)| self.detection(one, mask.as_ref())).collect();
        evaluator.match_image(&objects, &detections).map_err(|error| {
            let id = serde_json::to_string(&image.id).unwrap_or_default();
            Error::data(format!("image {id}: {error:#}")).into()
        })
    }

    fn detection<'a>(&self, one: &FoundObject<'_>, mask: Option<&'a Rle>) -> Detection<'a> {
        let bbox = one.bbox.or_else(|| mask.map(Rle::bbox)).unwrap_or_default();
        let area = match mask {
            Some(mask) if !(self.box_area && one.bbox.is_some()) => mask.area() as f64,
            _ => bbox[2] * bbox[3],
        };
        Detection {
            category: one.category as usize,
            score: one.score,
            bbox,
            area: Some(area),
            mask,
        }
    }

    fn truth_mask(
        &self,
        segmentation: &Segmentation,
        size: &mut Option<(u32, u32)>,
    ) -> Result<Option<Rle>> {
        if self.options.iou_type == IouType::Bbox {
            return Ok(None);
        }
        ensure!(
            *segmentation != Segmentation::None,
            "has no segmentation, which --iou-type segm compares"
        );
        rasterize(segmentation, [0.0; 4], size).map(Some)
    }

    /// `None` if only the box matters.
    fn found_mask(
        &self,
        one: &FoundObject<'_>,
        size: &mut Option<(u32, u32)>,
    ) -> Result<Option<Rle>> {
        let bbox = match (self.options.iou_type, one.bbox) {
            (IouType::Bbox, Some(_)) => return Ok(None),
            (_, bbox) => bbox.unwrap_or_default(),
        };
        let segmentation = one.segmentation().context("segmentation")?;
        rasterize(&segmentation, bbox, size).context("segmentation").map(Some)
    }
}

/// The mask on an image of `size`; if the files do not give the size, the first mask does.
fn rasterize(
    segmentation: &Segmentation,
    bbox: [f64; 4],
    size: &mut Option<(u32, u32)>,
) -> Result<Rle> {
    if matches!(segmentation, Segmentation::Polygons(_)) {
        // Run lengths are checked as they are decoded.
        segmentation.check(None)?;
    }
    let known = size.or(segmentation.size()).ok_or_else(|| {
        anyhow!("its image has no `height` and `width` in the ground truth, which polygons need")
    })?;
    *size = Some(known);
    segmentation.rasterize(known, bbox)
}

fn place(path: &Path, list: &str, entry: u32) -> Error {
    Error::data(format!("{}: {list}[{entry}]", path.display()))
}

fn by_category(found: &[FoundObject<'_>], num_categories: usize) -> Vec<usize> {
    let mut counts = vec![0; num_categories];
    for one in found {
        counts[one.category as usize] += 1;
    }
    counts
}

fn per_class(
    truths: &CocoTruths,
    result: &CocoResult,
    num_detections: &[usize],
) -> Vec<CategoryScores> {
    if result.params().class_agnostic {
        return Vec::new();
    }
    let mut num_objects = vec![0; truths.categories.len()];
    for object in truths.images.iter().flat_map(|image| &image.objects) {
        num_objects[object.category as usize] += 1;
    }
    let scores =
        |(k, category): (usize, &sonotune_dataset::coco_dataset::TruthCategory)| CategoryScores {
            id: category.id.clone(),
            name: category.name.clone(),
            objects: num_objects[k],
            detections: num_detections[k],
            stats: result.category_stats(k),
        };
    truths.categories.iter().enumerate().map(scores).collect()
}

fn counts(truths: &CocoTruths, detections: usize) -> CocoCounts {
    let objects = || truths.images.iter().flat_map(|image| &image.objects);
    CocoCounts {
        images: truths.images.len(),
        images_without_objects: truths.images.iter().filter(|i| i.objects.is_empty()).count(),
        objects: objects().count(),
        crowds: objects().filter(|object| object.is_crowd).count(),
        detections,
    }
}
