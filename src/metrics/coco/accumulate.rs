//! From matches to precision at levels of recall.

use rayon::prelude::*;

use super::{
    CocoResult, ImageMatches, Params,
    matching::{Cell, Outcomes},
};

/// `numpy.spacing(1)`: pycocotools adds it to the denominator of precision.
const SPACING: f64 = f64::EPSILON;

/// Precision and recall for every setting; -1 if there are no objects.
pub(super) fn accumulate(params: Params, images: &[ImageMatches]) -> CocoResult {
    let num_categories = params.num_result_categories();
    let mut by_category: Vec<Vec<&Cell>> = vec![Vec::new(); num_categories];
    for cell in images.iter().flat_map(|image| &image.cells) {
        by_category[cell.category as usize].push(cell);
    }
    let curves: Vec<Vec<Option<Curve>>> =
        by_category.par_iter().map(|cells| of_category(&params, cells)).collect();
    let mut result = CocoResult::absent(params);
    for (category, curves) in curves.into_iter().enumerate() {
        for (position, curve) in curves.into_iter().enumerate() {
            if let Some(curve) = curve {
                result.fill(category, position, curve);
            }
        }
    }
    result
}

/// Precision and recall as the score threshold decreases.
pub(super) struct Curve {
    /// Recall of all detections.
    pub(super) recall: f64,
    /// At each recall threshold the best precision of that recall or more; 0 if it is not
    /// reached.
    pub(super) precision: Vec<f64>,
}

/// All curves of a category, by `(area · IoU threshold) · max_dets`.
fn of_category(params: &Params, cells: &[&Cell]) -> Vec<Option<Curve>> {
    let num_settings = params.num_settings();
    let (ranks, outcomes) = ranking(cells, Outcomes::words_each(num_settings));
    let curves: Vec<Vec<Option<Curve>>> = (0..num_settings)
        .into_par_iter()
        .map(|setting| {
            let area = setting / params.iou_thresholds.len();
            let num_truths: u64 = cells.iter().map(|c| u64::from(c.num_truths[area])).sum();
            if num_truths == 0 {
                return params.max_dets.iter().map(|_| None).collect();
            }
            let bits = outcomes.setting(setting);
            let curve = |&max_dets: &usize| {
                Some(curve(params, &ranks, bits.clone(), max_dets, num_truths as f64))
            };
            params.max_dets.iter().map(curve).collect()
        })
        .collect();
    curves.into_iter().flatten().collect()
}

/// Outcomes of all detections, most confident first.
struct RankedOutcomes {
    words: Vec<u64>,
    words_each: usize,
}

impl RankedOutcomes {
    /// (matched, ignored) of every detection.
    fn setting(&self, setting: usize) -> impl Iterator<Item = (bool, bool)> + Clone + '_ {
        let (word, shift) = (2 * setting / 64, 2 * setting % 64);
        self.words.iter().skip(word).step_by(self.words_each).map(move |word| {
            let bits = word >> shift;
            (bits & 1 != 0, bits & 2 != 0)
        })
    }
}

/// All detections of a category, most confident first: the position of each among those of its image,
/// from 0, and its outcomes.
fn ranking(cells: &[&Cell], words_each: usize) -> (Vec<u32>, RankedOutcomes) {
    let total = cells.iter().map(|c| c.scores.len()).sum();
    let mut order: Vec<(f64, u32, u32)> = Vec::with_capacity(total);
    for (i, cell) in cells.iter().enumerate() {
        order.extend(cell.scores.iter().enumerate().map(|(d, &s)| (s, i as u32, d as u32)));
    }
    // Stable: pycocotools' mergesort keeps equal scores in the order of images.
    order.par_sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(std::cmp::Ordering::Equal));
    let mut words = Vec::with_capacity(total * words_each);
    for &(_, cell, d) in &order {
        words.extend_from_slice(cells[cell as usize].outcomes.of(d as usize));
    }
    let ranks = order.into_iter().map(|(_, _, rank)| rank).collect();
    (ranks, RankedOutcomes { words, words_each })
}

/// Precision improves only at true positives, so only they are kept.
fn curve(
    params: &Params,
    ranks: &[u32],
    outcomes: impl Iterator<Item = (bool, bool)>,
    max_dets: usize,
    num_truths: f64,
) -> Curve {
    let (mut true_positives, mut counted) = (0.0, 0.0);
    // Precision at each true positive.
    let mut found: Vec<f64> = Vec::new();
    for (&rank, (matched, ignored)) in ranks.iter().zip(outcomes) {
        if rank as usize >= max_dets || ignored {
            continue;
        }
        counted += 1.0;
        if matched {
            true_positives += 1.0;
            found.push(true_positives / (counted + SPACING));
        }
    }
    for i in (1..found.len()).rev() {
        found[i - 1] = found[i - 1].max(found[i]);
    }
    // Recall thresholds come in ascending order.
    let mut next = 0;
    let at = |&threshold: &f64| {
        while next < found.len() && ((next + 1) as f64) / num_truths < threshold {
            next += 1;
        }
        found.get(next).copied().unwrap_or(0.0)
    };
    let precision = params.recall_thresholds.iter().map(at).collect();
    Curve { recall: true_positives / num_truths, precision }
}
