//! DeLong's variance of the area under the ROC curve, and what follows.

use crate::{
    error::{Result, all_finite, same_length, valid_level},
    probability::{normal_quantile, normal_two_sided},
};

/// AUROC with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AurocEstimate {
    /// NaN without a positive or without a negative, like all else.
    pub auroc: f64,
    /// NaN with fewer than two positives or negatives.
    pub variance: f64,
    /// auroc ∓ z · √variance, cut to [0, 1].
    pub low: f64,
    pub high: f64,
}

/// Difference of two models' AUROC on the same rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AurocDifference {
    pub first: f64,
    pub second: f64,
    /// Variance of the difference `first − second`.
    pub variance: f64,
    /// Two-sided. 1 if the two are equal and order all pairs alike; NaN if the variance is 0 or
    /// undefined otherwise.
    pub p_value: f64,
    /// The interval of the difference.
    pub low: f64,
    pub high: f64,
}

/// AUROC of one model, with the interval that follows from DeLong's variance (1988), computed from
/// midranks (Sun and Xu 2014). Rows must be independent: one per patient.
///
/// # Errors
/// If the slices differ in length, a score is not finite, or the level is out of range.
pub fn delong(scores: &[f64], positive: &[bool], level: f64) -> Result<AurocEstimate> {
    valid_level(level)?;
    let parts = Components::new(scores, positive)?;
    let (auroc, variance) = (parts.auroc(), covariance(&parts, &parts));
    let reach = normal_quantile(f64::midpoint(1.0, level)) * variance.sqrt();
    let cut = |limit: f64| if limit.is_nan() { limit } else { limit.clamp(0.0, 1.0) };
    Ok(AurocEstimate { auroc, variance, low: cut(auroc - reach), high: cut(auroc + reach) })
}

/// Tests whether two models have the same AUROC on the same rows, which must be independent.
///
/// # Errors
/// Same errors as [`delong`].
pub fn delong_paired(
    first: &[f64],
    second: &[f64],
    positive: &[bool],
    level: f64,
) -> Result<AurocDifference> {
    valid_level(level)?;
    let [a, b] = [Components::new(first, positive)?, Components::new(second, positive)?];
    let variance = (covariance(&a, &a) + covariance(&b, &b) - 2.0 * covariance(&a, &b)).max(0.0);
    let difference = a.auroc() - b.auroc();
    let reach = normal_quantile(f64::midpoint(1.0, level)) * variance.sqrt();
    let p_value = match (difference, variance) {
        (_, variance) if variance > 0.0 => normal_two_sided(difference / variance.sqrt()),
        (0.0, 0.0) => 1.0,
        _ => f64::NAN,
    };
    Ok(AurocDifference {
        first: a.auroc(),
        second: b.auroc(),
        variance,
        p_value,
        low: difference - reach,
        high: difference + reach,
    })
}

/// DeLong's structural components.
struct Components {
    /// Share of the negatives below each positive.
    positives: Vec<f64>,
    /// Share of the positives above each negative.
    negatives: Vec<f64>,
}

impl Components {
    fn new(scores: &[f64], positive: &[bool]) -> Result<Self> {
        same_length("scores", positive.len(), scores.len())?;
        all_finite("scores", scores)?;
        let of = |which: bool| -> Vec<f64> {
            scores.iter().zip(positive).filter(|(_, p)| **p == which).map(|(s, _)| *s).collect()
        };
        let (positives, negatives) = (of(true), of(false));
        let below = |sorted: &[f64], score: f64| {
            let less = sorted.partition_point(|other| *other < score);
            let not_more = sorted.partition_point(|other| *other <= score);
            (less + not_more) as f64 / 2.0 / sorted.len() as f64
        };
        let sorted = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        let (sorted_positives, sorted_negatives) = (sorted(&positives), sorted(&negatives));
        Ok(Self {
            positives: positives.iter().map(|&s| below(&sorted_negatives, s)).collect(),
            negatives: negatives.iter().map(|&s| 1.0 - below(&sorted_positives, s)).collect(),
        })
    }

    fn auroc(&self) -> f64 {
        if self.negatives.is_empty() {
            return f64::NAN;
        }
        mean(&self.positives)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn covariance(a: &Components, b: &Components) -> f64 {
    let part = |a: &[f64], b: &[f64]| {
        let (mean_a, mean_b) = (mean(a), mean(b));
        let products: f64 = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).sum();
        if a.len() < 2 { f64::NAN } else { products / (a.len() - 1) as f64 / a.len() as f64 }
    };
    part(&a.positives, &b.positives) + part(&a.negatives, &b.negatives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_rows_by_hand() {
        // Positives 0.9 and 0.4 against negatives 0.4 and 0.6: shares below 1 and 1/4.
        let positive = [true, false, true, false];
        let one = delong(&[0.9, 0.4, 0.4, 0.6], &positive, 0.95).unwrap();
        assert_eq!(one.auroc, 0.625);
        // Components 1, 1/4 and 3/4, 1/2: variances 0.28125 / 2 and 0.03125 / 2.
        assert_eq!(one.variance, 0.15625);
        assert!(one.low == 0.0 && one.high == 1.0);
        let same = delong_paired(&[0.9, 0.4, 0.4, 0.6], &[9.0, 4.0, 4.0, 6.0], &positive, 0.95);
        assert_eq!(same.unwrap().p_value, 1.0);
        let none = delong(&[0.1, 0.2], &[true, true], 0.95).unwrap();
        assert!(none.auroc.is_nan() && none.low.is_nan() && none.variance.is_nan());
        assert!(delong(&[f64::NAN], &[true], 0.95).is_err());
        assert!(delong(&[0.1], &[true], 1.0).is_err());
    }
}
