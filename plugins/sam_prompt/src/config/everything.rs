//! The `[task.everything]` table.

use sonotune_engine::prelude::*;

/// `[task.everything]`: `predict --everything`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct EverythingConfig {
    /// `predict --everything`: clicks along the longer side of the image.
    pub points_per_side: usize,
    /// Minimum predicted IoU of a mask.
    pub pred_iou_thresh: f64,
    /// Minimum IoU of the masks cut at plus and minus the offset.
    pub stability_score_thresh: f64,
    /// That offset, in logits.
    pub stability_score_offset: f64,
    /// If two masks overlap by more than this (IoU), the one with the lower score is removed.
    pub nms_thresh: f64,
    /// Minimum area of a mask, pixels of the original image.
    pub min_mask_area: u64,
}

impl Default for EverythingConfig {
    /// SAM's values, but masks are compared instead of boxes.
    fn default() -> Self {
        Self {
            points_per_side: 32,
            pred_iou_thresh: 0.88,
            stability_score_thresh: 0.95,
            stability_score_offset: 1.0,
            nms_thresh: 0.7,
            min_mask_area: 16,
        }
    }
}

impl EverythingConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let fault = |key: &str, expected: &str| {
            Err(Error::config(format!("`task.everything.{key}`: expected {expected}")).into())
        };
        if !(1..=256).contains(&self.points_per_side) {
            return fault("points_per_side", "1 to 256");
        }
        if !self.pred_iou_thresh.is_finite() {
            return fault("pred_iou_thresh", "a number");
        }
        if !(0.0..=1.0).contains(&self.stability_score_thresh) {
            return fault("stability_score_thresh", "0 to 1");
        }
        if !self.stability_score_offset.is_finite() || self.stability_score_offset < 0.0 {
            return fault("stability_score_offset", "a number of at least 0");
        }
        if !(0.0..=1.0).contains(&self.nms_thresh) {
            return fault("nms_thresh", "0 to 1");
        }
        Ok(())
    }
}
