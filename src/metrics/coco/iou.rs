//! Overlaps of an image's detections (rows) with its objects (columns).

use anyhow::{Context, Result, ensure};
use hotcoco::primitives::sim::bbox_iou_pair;

use super::{Detection, IouType, Truth};
use sonotune_base::Rle;

use crate::spans::Spans;

/// Row-major `[D, G]`: intersection over union, for crowds over the detection's own area.
///
/// # Errors
/// If masks differ in size.
pub(super) fn matrix(
    iou_type: IouType,
    detections: &[&Detection<'_>],
    truths: &[&Truth<'_>],
) -> Result<Vec<f64>> {
    if detections.is_empty() || truths.is_empty() {
        return Ok(Vec::new());
    }
    match iou_type {
        IouType::Bbox => Ok(detections
            .iter()
            .flat_map(|d| truths.iter().map(|g| bbox_iou_pair(d.bbox, g.bbox, g.is_crowd)))
            .collect()),
        IouType::Segm => mask_matrix(detections, truths),
    }
}

fn mask_matrix(detections: &[&Detection<'_>], truths: &[&Truth<'_>]) -> Result<Vec<f64>> {
    let size = |rle: &Rle| (rle.height, rle.width);
    let truth_masks = truths
        .iter()
        .map(|g| g.mask.context("an object has no mask"))
        .collect::<Result<Vec<_>>>()?;
    let columns: Vec<Spans> = truth_masks.iter().map(|mask| Spans::of(mask)).collect();
    let mut ious = Vec::with_capacity(detections.len() * truths.len());
    for found in detections {
        let mask = found.mask.context("a detection has no mask")?;
        for other in &truth_masks {
            ensure!(
                size(mask) == size(other),
                "a detection's mask has {}×{} pixels (height×width), that of an object {}×{}",
                mask.height,
                mask.width,
                other.height,
                other.width
            );
        }
        let row = Spans::of(mask);
        ious.extend(columns.iter().zip(truths).map(|(column, truth)| {
            let intersection = row.intersection(column);
            let whole =
                if truth.is_crowd { row.area } else { row.area + column.area - intersection };
            if intersection == 0 { 0.0 } else { intersection as f64 / whole as f64 }
        }));
    }
    Ok(ious)
}
