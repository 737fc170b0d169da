//! COCO's average precision and recall, equal to pycocotools' `COCOeval`.
//!
//! An image's detections are matched to its objects as soon as both are known
//! ([`CocoEvaluator::add_image`]); about 24 bytes per detection are kept. Images can also be matched
//! separately ([`CocoEvaluator::match_image`] borrows the evaluator shared, so any number of threads
//! can do so) and added with [`CocoEvaluator::insert`].
//!
//! ```
//! use sonotune_metrics::coco::{CocoEvaluator, Detection, IouType, Params, Query, Truth};
//!
//! let mut evaluator = CocoEvaluator::new(Params::new(IouType::Bbox, 1))?;
//! let truth = Truth {
//!     category: 0, bbox: [10.0, 20.0, 100.0, 50.0], area: 5000.0, is_crowd: false, mask: None,
//! };
//! let found = Detection {
//!     category: 0, score: 0.9, bbox: [11.0, 20.0, 100.0, 50.0], area: None, mask: None,
//! };
//! evaluator.add_image(&[truth], &[found])?;
//! let result = evaluator.finish();
//! assert!((result.stats()[0] - 1.0).abs() < 1e-12);
//! let half = Query { iou: Some(0.5), ..Query::default() };
//! assert!((result.average_precision(&half) - 1.0).abs() < 1e-12);
//! # anyhow::Ok(())
//! ```
//!
//! # Differences from pycocotools
//! - It treats a detection that was matched to the annotation with id 0 as unmatched; ids do not matter
//!   here.
//! - Scores that are NaN, boxes of negative size and masks of different sizes are errors here.

mod accumulate;
mod iou;
mod matching;
mod params;
mod result;

#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};

pub use crate::coco::{
    matching::ImageMatches,
    params::{AreaRange, IouType, Params},
    result::{CocoResult, Query, stat_names},
};
use sonotune_base::Rle;

/// An annotated object.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// Index of the category.
    pub category: usize,
    /// XYWH, pixels of the image.
    pub bbox: [f64; 4],
    /// As annotated; decides in which area ranges the object counts.
    pub area: f64,
    /// A region of many objects: it may be found any number of times, and never counts as missed.
    pub is_crowd: bool,
    /// Needed for [`IouType::Segm`].
    pub mask: Option<&'a Rle>,
}

/// A predicted object.
#[derive(Debug, Clone, Copy)]
pub struct Detection<'a> {
    /// Index of the category.
    pub category: usize,
    /// Confidence: any finite number, higher means more confident.
    pub score: f64,
    /// XYWH, pixels of the image.
    pub bbox: [f64; 4],
    /// If absent, the mask's area for [`IouType::Segm`], the box's for [`IouType::Bbox`].
    pub area: Option<f64>,
    /// Needed for [`IouType::Segm`].
    pub mask: Option<&'a Rle>,
}

/// Collects matches image by image.
#[derive(Debug)]
pub struct CocoEvaluator {
    params: Params,
    images: Vec<(u64, ImageMatches)>,
}

impl CocoEvaluator {
    /// # Errors
    /// If the parameters are invalid; says which.
    pub fn new(params: Params) -> Result<Self> {
        params.check()?;
        Ok(Self { params, images: Vec::new() })
    }

    /// The parameters that the evaluator was created with.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Matches an image and adds it after those added before. Equal scores of different images rank in
    /// this order; pycocotools goes through images by ascending id.
    ///
    /// # Errors
    /// Names the object that is invalid, as `truths[i]` or `detections[i]`.
    pub fn add_image(&mut self, truths: &[Truth<'_>], detections: &[Detection<'_>]) -> Result<()> {
        let matches = self.match_image(truths, detections)?;
        self.insert(self.images.len() as u64, matches);
        Ok(())
    }

    /// Matches an image without adding it.
    ///
    /// # Errors
    /// Same errors as [`add_image`](Self::add_image).
    pub fn match_image(
        &self,
        truths: &[Truth<'_>],
        detections: &[Detection<'_>],
    ) -> Result<ImageMatches> {
        for (i, truth) in truths.iter().enumerate() {
            self.check(truth.category, truth.bbox, truth.mask)
                .and_then(|()| {
                    ensure!(
                        truth.area.is_finite(),
                        "area {} is not a number of pixels",
                        truth.area
                    );
                    Ok(())
                })
                .map_err(|e| e.context(format!("truths[{i}]")))?;
        }
        for (i, found) in detections.iter().enumerate() {
            self.check(found.category, found.bbox, found.mask)
                .and_then(|()| {
                    ensure!(found.score.is_finite(), "score {} is not finite", found.score);
                    Ok(())
                })
                .map_err(|e| e.context(format!("detections[{i}]")))?;
        }
        matching::match_image(&self.params, truths, detections)
    }

    /// Adds a matched image. Equal scores of different images rank by ascending `position`.
    pub fn insert(&mut self, position: u64, matches: ImageMatches) {
        self.images.push((position, matches));
    }

    /// Precision and recall over all images.
    #[must_use]
    pub fn finish(mut self) -> CocoResult {
        self.images.sort_by_key(|(position, _)| *position);
        let images: Vec<ImageMatches> = self.images.into_iter().map(|(_, m)| m).collect();
        accumulate::accumulate(self.params, &images)
    }

    fn check(&self, category: usize, bbox: [f64; 4], mask: Option<&Rle>) -> Result<()> {
        ensure!(
            category < self.params.num_categories,
            "category {category} is beyond the {} categories",
            self.params.num_categories
        );
        ensure!(
            bbox.iter().all(|side| side.is_finite()) && bbox[2] >= 0.0 && bbox[3] >= 0.0,
            "bbox {bbox:?} is not [x, y, width, height] with a width and height of at least 0"
        );
        ensure!(
            mask.is_some() || self.params.iou_type == IouType::Bbox,
            "has no mask, which iou_type segm needs"
        );
        Ok(())
    }
}
