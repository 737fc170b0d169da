//! Segments everything: prompts with a grid of clicks and keeps the masks that are confident, stable and
//! not duplicates (Kirillov et al. 2023, `automatic_mask_generator.py`).

use sonotune_engine::{metrics::overlap, prelude::*};

use crate::{postprocess::tight_box, prediction::View, prompt::Question};

/// A mask that passed the filters.
struct Candidate {
    /// `[1, 4h, 4w]`.
    logits: Tensor,
    score: f64,
}

/// Objects of the image, by descending predicted IoU, all of category 0.
pub(crate) fn everything(view: &View<'_>) -> Result<Vec<Instance>> {
    let config = &view.config.everything;
    let mut kept: Vec<(f64, Rle)> = Vec::new();
    // In portions: a thousand clicks give three thousand masks, of which few are kept.
    for points in grid(view.frame.original, config.points_per_side).chunks(64) {
        let questions: Vec<_> = points
            .iter()
            .map(|&point| {
                let prompt = ObjectPrompt { points: vec![point], ..ObjectPrompt::default() };
                Question::new(&prompt, view.frame, view.config.convention)
            })
            .collect();
        let candidates = candidates(view, &questions)?;
        if candidates.is_empty() {
            continue;
        }
        let logits: Vec<_> = candidates.iter().map(|c| &c.logits).collect();
        let masks = view.masks(&Tensor::stack(&logits, 0))?;
        let large =
            candidates.iter().zip(masks).filter(|(_, m)| m.area() >= config.min_mask_area.max(1));
        kept.extend(large.map(|(candidate, mask)| (candidate.score, mask)));
    }
    let chosen = suppress(kept, config.nms_thresh)?;
    Ok(chosen
        .into_iter()
        .map(|(score, mask)| Instance {
            category: 0,
            score,
            bbox: tight_box(&mask),
            mask: Some(mask),
            answers: None,
        })
        .collect())
}

/// Clicks at the centres of equal cells.
fn grid((height, width): Size, per_side: usize) -> Vec<PointPrompt> {
    let step = height.max(width) as f64 / per_side as f64;
    let along = |side: i64| {
        let count = (side as f64 / step).round().max(1.0) as usize;
        (0..count).map(move |i| (i as f64 + 0.5) * side as f64 / count as f64 - 0.5)
    };
    along(height)
        .flat_map(|y| along(width).map(move |x| PointPrompt { x, y, positive: true }))
        .collect()
}

/// Masks that are confident and stable.
fn candidates(view: &View<'_>, questions: &[Question]) -> Result<Vec<Candidate>> {
    let config = &view.config.everything;
    let mut candidates = Vec::new();
    for (logits, scores) in view.ask_all(questions)? {
        let stability = Vec::<f32>::try_from(stability(&logits, config.stability_score_offset))?;
        for (i, (&score, &stability)) in scores.iter().zip(&stability).enumerate() {
            if score >= config.pred_iou_thresh
                && f64::from(stability) >= config.stability_score_thresh
            {
                candidates.push(Candidate { logits: logits.narrow(0, i as i64, 1), score });
            }
        }
    }
    Ok(candidates)
}

/// `[M, H, W]` logits to `[M]`: how little a mask changes when the cut moves.
fn stability(logits: &Tensor, offset: f64) -> Tensor {
    let area = |mask: Tensor| mask.sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);
    let (sure, possible) = (area(logits.gt(offset)), area(logits.gt(-offset)));
    sure / possible.clamp_min(1.0)
}

/// Non-maximum suppression by mask IoU; the result is sorted by descending score.
fn suppress(mut masks: Vec<(f64, Rle)>, threshold: f64) -> Result<Vec<(f64, Rle)>> {
    masks.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<(f64, Rle)> = Vec::new();
    'masks: for (score, mask) in masks {
        for (_, surer) in &kept {
            if overlap::iou(surer, &mask)?.is_some_and(|iou| iou > threshold) {
                continue 'masks;
            }
        }
        kept.push((score, mask));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_keeps_distances_and_stays_inside() {
        let points = grid((50, 100), 4);
        assert_eq!(points.len(), 4 * 2);
        assert_eq!((points[0].x, points[0].y), (12.0, 12.0));
        assert_eq!((points[7].x, points[7].y), (87.0, 37.0));
    }

    #[test]
    fn of_two_masks_that_overlap_the_surer_stays() {
        let mask = |from: usize| {
            let mut pixels = vec![0u8; 100];
            pixels[from..from + 40].fill(1);
            Rle::from_mask(&pixels, (10, 10)).unwrap()
        };
        let kept = suppress(vec![(0.5, mask(0)), (0.9, mask(2)), (0.7, mask(60))], 0.7).unwrap();
        assert_eq!(kept.iter().map(|(score, _)| *score).collect::<Vec<_>>(), [0.9, 0.7]);
    }

    #[test]
    fn a_mask_of_steep_edges_is_stable() {
        let steep = Tensor::from_slice(&[9f32, 9.0, -9.0, -9.0]);
        let flat = Tensor::from_slice(&[9f32, 0.5, -0.5, -9.0]);
        let logits = Tensor::stack(&[steep, flat], 0).view([2, 2, 2]);
        assert_eq!(Vec::<f32>::try_from(stability(&logits, 1.0)).unwrap(), [1.0, 1.0 / 3.0]);
    }
}
