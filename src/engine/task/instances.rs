//! Scores predicted objects against annotated ones, for tasks that predict objects: COCO's metric
//! on boxes and on masks, with the figures and names of mmdetection's `CocoMetric`.
//!
//! ```
//! use sonotune_engine::{batch::Target, task::{Prediction, instances::{Annotated, InstanceScorer}}};
//!
//! fn map_50(images: &[(Prediction, Target)]) -> anyhow::Result<f64> {
//!     let mut scorer = InstanceScorer::new(1, false)?;
//!     for (prediction, target) in images {
//!         scorer.add(&Annotated::of(target)?, &prediction.instances)?;
//!     }
//!     Ok(scorer.finish()?.figures(sonotune_metrics::coco::IouType::Segm)[1].1)
//! }
//! # assert!(map_50(&[]).unwrap().is_nan());
//! ```

mod notes;
mod quality;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::{Context, Result};

use super::Instance;
use crate::batch::Target;
use sonotune_base::Rle;
use sonotune_dataset::Object;
use sonotune_metrics::coco::{CocoEvaluator, CocoResult, Detection, IouType, Params, Query, Truth};
use sonotune_metrics::{Metric, Table};

pub use notes::{Answers, not_in_millimetres, not_scored, nothing_found};
pub use quality::panoptic_quality;
pub use sonotune_base::words::{number, percent};

/// mmdetection's limits: mAP uses the first, everything else the last.
const MAX_DETS: [usize; 3] = [100, 300, 1000];

/// The annotation of an image, its masks rasterised once for everything that is scored on them.
#[derive(Debug)]
pub struct Annotated {
    objects: Arc<[Object]>,
    masks: Vec<Rle>,
    spacing: Option<[f64; 2]>,
}

impl Annotated {
    /// The objects of a target as annotated, in original pixels.
    ///
    /// # Errors
    /// When a mask is malformed or differs in size from its image; names the object.
    pub fn of(target: &Target) -> Result<Self> {
        let (height, width) = target.original_size;
        let size = (u32::try_from(height)?, u32::try_from(width)?);
        let mask = |(i, object): (usize, &Object)| {
            let mask = object.segmentation.rasterize(size, object.bbox);
            mask.with_context(|| format!("mask of object {i}"))
        };
        let masks = target.objects.iter().enumerate().map(mask).collect::<Result<_>>()?;
        Ok(Self { objects: Arc::clone(&target.objects), masks, spacing: target.spacing })
    }

    /// The objects in the order of [`Target::objects`].
    #[must_use]
    pub fn masks(&self) -> &[Rle] {
        &self.masks
    }

    /// `[row, column]` in millimetres a pixel, if known.
    #[must_use]
    pub fn spacing(&self) -> Option<[f64; 2]> {
        self.spacing
    }

    fn truths(&self) -> Vec<Truth<'_>> {
        let truth = |(object, mask): (&Object, _)| {
            let Object { category, bbox, area, is_crowd, .. } = *object;
            Truth { category: category as usize, bbox, area, is_crowd, mask: Some(mask) }
        };
        self.objects.iter().zip(&self.masks).map(truth).collect()
    }
}

/// How much was scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub images: u64,
    /// Images whose pixel has a size in millimetres.
    pub images_with_spacing: u64,
    /// Images without any annotation, including crowds: everything found there is false.
    pub images_without_objects: u64,
    /// Objects, not counting crowds.
    pub objects: u64,
    pub crowds: u64,
    /// Objects whose mask is empty.
    pub objects_without_pixels: u64,
    /// Objects with a box and no mask: the box counts as their mask.
    pub boxes_only: u64,
}

impl Counts {
    /// Whether there are masks to score against. Without any, a score of masks would be one of boxes
    /// under the wrong name: it is left out.
    #[must_use]
    pub fn has_masks(&self) -> bool {
        self.objects == 0 || self.boxes_only < self.objects
    }

    /// Counts an image.
    pub fn add(&mut self, image: &Annotated) {
        let crowds = image.objects.iter().filter(|o| o.is_crowd).count() as u64;
        let is_empty = |(object, mask): &(&Object, &Rle)| !object.is_crowd && mask.area() == 0;
        let empty = image.objects.iter().zip(&image.masks).filter(is_empty).count();
        self.images += 1;
        self.images_with_spacing += u64::from(image.spacing.is_some());
        self.images_without_objects += u64::from(image.objects.is_empty());
        self.objects += image.objects.len() as u64 - crowds;
        self.crowds += crowds;
        self.objects_without_pixels += empty as u64;
        let boxes = image.objects.iter().filter(|o| !o.is_crowd && o.is_box_only()).count();
        self.boxes_only += boxes as u64;
    }
}

/// The kinds of figures that can be scored: without masks, those of boxes alone.
#[must_use]
pub fn scored_kinds(has_masks: bool) -> &'static [IouType] {
    if has_masks { &[IouType::Bbox, IouType::Segm] } else { &[IouType::Bbox] }
}

/// Scores the boxes and masks of one stream of predictions together.
#[derive(Debug)]
pub struct InstanceScorer {
    bbox: CocoEvaluator,
    segm: CocoEvaluator,
    /// For each category, the number of objects that are not crowds.
    num_objects: Vec<u64>,
}

impl InstanceScorer {
    /// A scorer for `num_categories` categories, which `class_agnostic` treats as one.
    ///
    /// # Errors
    /// When there are no categories.
    pub fn new(num_categories: usize, class_agnostic: bool) -> Result<Self> {
        let evaluator = |iou_type| {
            CocoEvaluator::new(Params {
                max_dets: MAX_DETS.to_vec(),
                class_agnostic,
                ..Params::new(iou_type, num_categories)
            })
        };
        let (bbox, segm) = (evaluator(IouType::Bbox)?, evaluator(IouType::Segm)?);
        let num_objects = vec![0; bbox.params().num_result_categories()];
        Ok(Self { bbox, segm, num_objects })
    }

    /// Adds an image and what was found on it, in any order.
    ///
    /// # Errors
    /// When an instance has no mask, a category out of range, or a box or score that is
    /// not finite; names it as `detections[i]`.
    pub fn add<'a>(
        &mut self,
        image: &Annotated,
        instances: impl IntoIterator<Item = &'a Instance>,
    ) -> Result<()> {
        let truths = image.truths();
        let detections: Vec<_> = instances.into_iter().map(detection).collect();
        self.bbox.add_image(&truths, &detections)?;
        self.segm.add_image(&truths, &detections)?;
        let agnostic = self.bbox.params().class_agnostic;
        for truth in truths.iter().filter(|truth| !truth.is_crowd) {
            self.num_objects[if agnostic { 0 } else { truth.category }] += 1;
        }
        Ok(())
    }

    /// The scores of all images added; the scorer is then empty again.
    ///
    /// # Errors
    /// None in practice: the parameters were checked before.
    pub fn finish(&mut self) -> Result<InstanceScores> {
        let take = |evaluator: &mut CocoEvaluator| {
            let fresh = CocoEvaluator::new(evaluator.params().clone())?;
            anyhow::Ok(std::mem::replace(evaluator, fresh).finish())
        };
        let fresh = vec![0; self.num_objects.len()];
        Ok(InstanceScores {
            bbox: take(&mut self.bbox)?,
            segm: take(&mut self.segm)?,
            num_objects: std::mem::replace(&mut self.num_objects, fresh),
        })
    }
}

fn detection(instance: &Instance) -> Detection<'_> {
    let [x0, y0, x1, y1] = instance.bbox;
    Detection {
        category: instance.category,
        score: instance.score,
        bbox: [x0, y0, x1 - x0, y1 - y0],
        area: None,
        mask: instance.mask.as_ref(),
    }
}

/// Name, IoU and area of mmdetection's six figures.
const FIGURES: [(&str, Option<f64>, &str); 6] = [
    ("mAP", None, "all"),
    ("mAP_50", Some(0.5), "all"),
    ("mAP_75", Some(0.75), "all"),
    ("mAP_s", None, "small"),
    ("mAP_m", None, "medium"),
    ("mAP_l", None, "large"),
];

/// Name and IoU of the figures of each category.
const PER_CLASS: [(&str, Option<f64>); 2] = [("mAP", None), ("mAP_50", Some(0.5))];

fn figure_name(kind: IouType, figure: &str) -> String {
    format!("{}_{figure}", kind.as_str())
}

/// Names of [`InstanceScores::figures`].
#[must_use]
pub fn figure_names(kind: IouType) -> [String; 6] {
    FIGURES.map(|(figure, _, _)| figure_name(kind, figure))
}

/// COCO's metric of one stream of predictions.
#[derive(Debug, Clone)]
pub struct InstanceScores {
    bbox: CocoResult,
    segm: CocoResult,
    num_objects: Vec<u64>,
}

impl InstanceScores {
    /// The full results for boxes or for masks.
    #[must_use]
    pub fn result(&self, kind: IouType) -> &CocoResult {
        match kind {
            IouType::Bbox => &self.bbox,
            IouType::Segm => &self.segm,
        }
    }

    /// mmdetection's six figures as fractions: `bbox_mAP`, `bbox_mAP_50`, `_75`, `_s`, `_m`, `_l`, or
    /// the same with `segm`. The first counts at most 100 detections per image and category,
    /// the others 1000. NaN if there is no object (of that size).
    #[must_use]
    pub fn figures(&self, kind: IouType) -> [(String, f64); 6] {
        FIGURES.map(|(name, iou, area)| {
            (figure_name(kind, name), self.precision(kind, iou, area, None))
        })
    }

    /// Names of [`metrics`](Self::metrics) and of [`per_class`](Self::per_class), `*` for a category.
    #[must_use]
    pub fn metric_names() -> Vec<String> {
        let kinds = [IouType::Bbox, IouType::Segm];
        let figures = kinds.into_iter().flat_map(figure_names);
        let per_class = kinds.into_iter().flat_map(|kind| {
            PER_CLASS.map(|(figure, _)| format!("per_class/*/{}_{figure}", kind.as_str()))
        });
        figures.chain(per_class).collect()
    }

    /// [`figures`](Self::figures) of these kinds.
    #[must_use]
    pub fn metrics(&self, kinds: &[IouType]) -> Vec<Metric> {
        let figures = kinds.iter().flat_map(|&kind| self.figures(kind));
        figures.map(|(name, value)| Metric::highest(name, value)).collect()
    }

    /// For each category `per_class/<name>/bbox_mAP`, `…/bbox_mAP_50`, and the same with `segm`; NaN
    /// if it has no objects.
    #[must_use]
    pub fn per_class<S: AsRef<str>>(&self, names: &[S], kinds: &[IouType]) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for (category, name) in names.iter().enumerate() {
            for &kind in kinds {
                for (figure, iou) in PER_CLASS {
                    let name = format!("per_class/{}/{}_{figure}", name.as_ref(), kind.as_str());
                    metrics.push(Metric::highest(
                        name,
                        self.precision(kind, iou, "all", Some(category)),
                    ));
                }
            }
        }
        metrics
    }

    /// mAP and mAP50 of each category, in percent, and the number of its objects. The means of the
    /// columns, over the categories that have objects, are [`figures`](Self::figures).
    #[must_use]
    pub fn by_category<S: AsRef<str>>(&self, names: &[S], kinds: &[IouType]) -> Table {
        let header = ["category", "bbox mAP", "bbox mAP50", "segm mAP", "segm mAP50", "objects"];
        let agnostic = self.bbox.params().class_agnostic;
        let row = |(category, objects): (usize, &u64)| {
            let name = match names.get(category) {
                Some(name) if !agnostic => name.as_ref(),
                _ => "all categories as one",
            };
            let precision = |kind, iou| match kinds.contains(&kind) {
                true => percent(self.precision(kind, iou, "all", Some(category))),
                false => percent(f64::NAN),
            };
            vec![
                name.to_owned(),
                precision(IouType::Bbox, None),
                precision(IouType::Bbox, Some(0.5)),
                precision(IouType::Segm, None),
                precision(IouType::Segm, Some(0.5)),
                objects.to_string(),
            ]
        };
        Table {
            title: "By category".to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: self.num_objects.iter().enumerate().map(row).collect(),
        }
    }

    fn precision(
        &self,
        kind: IouType,
        iou: Option<f64>,
        area: &str,
        category: Option<usize>,
    ) -> f64 {
        let [first, _, last] = MAX_DETS;
        let is_map = iou.is_none() && area == "all";
        let max_dets = Some(if is_map { first } else { last });
        let value = self.result(kind).average_precision(&Query { iou, area, max_dets, category });
        if value < 0.0 { f64::NAN } else { value }
    }
}
