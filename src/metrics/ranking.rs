//! Metrics of how well scores order images, whatever the threshold.

/// Area under the ROC curve: the share of (positive, negative) pairs that the scores order correctly,
/// ties counting half. NaN without a positive or without a negative.
///
/// Same as scikit-learn's `roc_auc_score`.
///
/// # Panics
/// If the slices differ in length: a bug of the caller.
#[must_use]
pub fn auroc(scores: &[f64], positive: &[bool]) -> f64 {
    let positives = positive.iter().filter(|&&p| p).count();
    let negatives = positive.len() - positives;
    if positives == 0 || negatives == 0 {
        return f64::NAN;
    }
    // Mann-Whitney: mean ranks of the positives, counted from 1.
    let mut ranks_of_positives = 0.0;
    let mut below = 0;
    for group in groups(scores, positive, |a, b| a.total_cmp(&b)) {
        let mean_rank = below as f64 + (group.len() as f64 + 1.0) / 2.0;
        ranks_of_positives += mean_rank * group.iter().filter(|&&p| p).count() as f64;
        below += group.len();
    }
    let (positives, negatives) = (positives as f64, negatives as f64);
    (ranks_of_positives - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}

/// Area under the precision-recall curve as a sum of steps, Σ (Rₙ − Rₙ₋₁) Pₙ, tied scores making one
/// step. NaN without a positive.
///
/// Same as scikit-learn's `average_precision_score`; COCO's interpolated average precision differs.
///
/// # Panics
/// If the slices differ in length: a bug of the caller.
#[must_use]
pub fn average_precision(scores: &[f64], positive: &[bool]) -> f64 {
    let positives = positive.iter().filter(|&&p| p).count();
    if positives == 0 {
        return f64::NAN;
    }
    let (mut seen, mut found, mut area) = (0, 0, 0.0);
    for group in groups(scores, positive, |a, b| b.total_cmp(&a)) {
        let hits = group.iter().filter(|&&p| p).count();
        seen += group.len();
        found += hits;
        area += hits as f64 * found as f64 / seen as f64;
    }
    area / positives as f64
}

/// `positive`, in the order of the scores, in groups of equal ones.
fn groups(
    scores: &[f64],
    positive: &[bool],
    order: impl Fn(f64, f64) -> std::cmp::Ordering,
) -> Vec<Vec<bool>> {
    assert_eq!(scores.len(), positive.len(), "one score per image");
    let mut pairs: Vec<(f64, bool)> =
        scores.iter().copied().zip(positive.iter().copied()).collect();
    pairs.sort_by(|a, b| order(a.0, b.0));
    pairs.chunk_by(|a, b| a.0 == b.0).map(|g| g.iter().map(|&(_, p)| p).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auroc_counts_ordered_pairs() {
        let positive = [true, false, true, false];
        // Pairs: 0.9 beats both negatives, 0.4 ties with one and loses to the other.
        assert_eq!(auroc(&[0.9, 0.4, 0.4, 0.6], &positive), (1.0 + 1.0 + 0.5 + 0.0) / 4.0);
        assert_eq!(auroc(&[0.5; 4], &positive), 0.5);
        assert!(auroc(&[0.1, 0.2], &[true, true]).is_nan());
        assert!(auroc(&[], &[]).is_nan());
    }

    #[test]
    fn average_precision_takes_ties_as_one_step() {
        let positive = [true, false, true, false];
        // Thresholds 0.9: P 1, R 1/2; 0.6: P 1/2, R 1/2; 0.4: P 2/4, R 1.
        let got = average_precision(&[0.9, 0.4, 0.4, 0.6], &positive);
        assert!((got - (0.5 * 1.0 + 0.5 * 0.5)).abs() < 1e-12);
        assert_eq!(average_precision(&[0.5; 4], &positive), 0.5);
        assert!(average_precision(&[0.5], &[false]).is_nan());
    }
}
