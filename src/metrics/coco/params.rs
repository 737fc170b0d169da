//! What a COCO evaluation counts.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// What the overlap of two objects is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum IouType {
    /// Boxes.
    #[default]
    Bbox,
    /// Masks.
    Segm,
}

impl IouType {
    /// The name that pycocotools uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bbox => "bbox",
            Self::Segm => "segm",
        }
    }
}

/// Objects of an area within both bounds, in pixels; the others are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AreaRange {
    pub name: String,
    pub min: f64,
    pub max: f64,
}

/// What to count, with COCO's values as default.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    pub iou_type: IouType,
    /// Maximum numbers of detections per image and category, ascending: the most confident ones count.
    /// COCO: 1, 10, 100; mmdetection and UltraSam: 100, 300, 1000.
    pub max_dets: Vec<usize>,
    /// Minimum overlaps for a match; COCO: 0.5, 0.55, …, 0.95.
    pub iou_thresholds: Vec<f64>,
    /// Levels of recall at which precision is read; COCO: 0, 0.01, …, 1.
    pub recall_thresholds: Vec<f64>,
    /// COCO: `all`, `small` (up to 32²), `medium` (to 96²), `large`.
    pub area_ranges: Vec<AreaRange>,
    /// Categories are indices below this, in the order of their ids.
    pub num_categories: usize,
    /// Treats all categories as one (pycocotools' `useCats = 0`).
    pub class_agnostic: bool,
}

impl Params {
    /// The parameters of COCO.
    #[must_use]
    pub fn new(iou_type: IouType, num_categories: usize) -> Self {
        let range = |name: &str, min: f64, max: f64| AreaRange { name: name.into(), min, max };
        Self {
            iou_type,
            max_dets: vec![1, 10, 100],
            iou_thresholds: linspace(0.5, 0.95, 10),
            recall_thresholds: linspace(0.0, 1.0, 101),
            area_ranges: vec![
                range("all", 0.0, 1e10),
                range("small", 0.0, 1024.0),
                range("medium", 1024.0, 9216.0),
                range("large", 9216.0, 1e10),
            ],
            num_categories,
            class_agnostic: false,
        }
    }

    /// Number of categories in the result: one if all are treated as one.
    #[must_use]
    pub fn num_result_categories(&self) -> usize {
        if self.class_agnostic { 1 } else { self.num_categories }
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.num_categories > 0, "there are no categories to evaluate");
        ensure!(
            self.max_dets.first().is_some_and(|&n| n > 0)
                && self.max_dets.windows(2).all(|w| w[0] < w[1]),
            "max_dets must be ascending numbers from 1 on; got {:?}",
            self.max_dets
        );
        let in_unit = |list: &[f64]| {
            !list.is_empty()
                && list.iter().all(|t| (0.0..=1.0).contains(t))
                && list.windows(2).all(|w| w[0] < w[1])
        };
        ensure!(
            in_unit(&self.iou_thresholds),
            "iou_thresholds must be ascending numbers in [0, 1]; got {:?}",
            self.iou_thresholds
        );
        ensure!(
            in_unit(&self.recall_thresholds),
            "recall_thresholds must be ascending numbers in [0, 1]; got {:?}",
            self.recall_thresholds
        );
        ensure!(
            !self.area_ranges.is_empty() && self.area_ranges.iter().all(|a| a.min <= a.max),
            "area_ranges must each have min ≤ max; got {:?}",
            self.area_ranges
        );
        Ok(())
    }

    /// Combinations of area range and IoU threshold.
    pub(super) fn num_settings(&self) -> usize {
        self.area_ranges.len() * self.iou_thresholds.len()
    }
}

/// Same as `numpy.linspace`, bit for bit.
fn linspace(start: f64, stop: f64, num: usize) -> Vec<f64> {
    let step = (stop - start) / (num - 1) as f64;
    (0..num).map(|i| if i + 1 == num { stop } else { i as f64 * step + start }).collect()
}
