//! Temperature scaling (Guo et al. 2017): one number that makes a classifier as confident as it
//! should be, and leaves its predictions as they are.

use super::label_within;
use crate::error::{Error, Result, all_finite, same_length};

/// Temperatures beyond these are not looked for.
const COLDEST: f64 = 0.01;
const HOTTEST: f64 = 100.0;

/// A temperature that logits are divided by before the softmax, and what that gains on the rows it was
/// fitted to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// Above 1 if the model is too confident.
    pub value: f64,
    /// Negative log likelihood as it is, and with the temperature.
    pub before: f64,
    pub after: f64,
    /// Set if no temperature between 0.01 and 100 is best, which makes `value` one of the two.
    pub limit: Option<Limit>,
}

/// Why there is no best temperature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("every row is predicted correctly, so that more confidence is always better")]
    Coldest,
    #[error("the logits tell nothing about the labels, so that less confidence is always better")]
    Hottest,
}

/// The temperature with the least negative log likelihood. `logits` are `[rows][categories]`. Fit it on a
/// validation split, never on the data that calibration is reported for.
///
/// The likelihood is convex in the inverse of the temperature; Newton's method finds the minimum within a
/// bracket.
///
/// # Errors
/// If there are no rows or fewer than two categories, rows differ in length, a logit is not finite, or
/// a label is out of range.
pub fn fit_temperature(logits: &[Vec<f64>], labels: &[usize]) -> Result<Temperature> {
    same_length("labels", logits.len(), labels.len())?;
    let Some(first) = logits.first().filter(|first| first.len() > 1) else {
        return Err(Error::Empty { what: "rows with two or more categories" });
    };
    for (place, (row, &label)) in logits.iter().zip(labels).enumerate() {
        same_length("logits of a row", first.len(), row.len())?;
        all_finite("logits", row)?;
        label_within("labels", place, label, row.len())?;
    }
    let at = |inverse: f64| Likelihood::new(logits, labels, inverse);
    let (inverse, limit) = minimum(&at);
    let (before, after) = (at(1.0).value, at(inverse).value);
    Ok(Temperature { value: 1.0 / inverse, before, after, limit })
}

/// The inverse temperature at which the slope is 0.
fn minimum(at: &impl Fn(f64) -> Likelihood) -> (f64, Option<Limit>) {
    let (mut low, mut high) = (1.0 / HOTTEST, 1.0 / COLDEST);
    if at(low).slope >= 0.0 {
        return (low, Some(Limit::Hottest));
    }
    if at(high).slope <= 0.0 {
        return (high, Some(Limit::Coldest));
    }
    let mut inverse = 1.0;
    // Halving alone takes 60 steps to the last bit.
    for _ in 0..200 {
        let here = at(inverse);
        if here.slope > 0.0 {
            high = inverse;
        } else {
            low = inverse;
        }
        let newton = inverse - here.slope / here.curvature;
        let inside = newton > low && newton < high;
        let next = if inside { newton } else { (low * high).sqrt() };
        if (next - inverse).abs() <= 1e-14 * inverse {
            return (next, None);
        }
        inverse = next;
    }
    (inverse, None)
}

/// Mean negative log likelihood and its derivatives by the inverse temperature.
struct Likelihood {
    value: f64,
    slope: f64,
    curvature: f64,
}

impl Likelihood {
    fn new(logits: &[Vec<f64>], labels: &[usize], inverse: f64) -> Self {
        let (mut value, mut slope, mut curvature) = (0.0, 0.0, 0.0);
        for (row, &label) in logits.iter().zip(labels) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            // Sums of exp, z exp and z² exp, with the largest logit as zero.
            let [mut s0, mut s1, mut s2] = [0.0; 3];
            for logit in row {
                let z = logit - largest;
                let weight = (inverse * z).exp();
                s0 += weight;
                s1 += z * weight;
                s2 += z * z * weight;
            }
            let (mean, own) = (s1 / s0, row[label] - largest);
            value += s0.ln() - inverse * own;
            slope += mean - own;
            curvature += s2 / s0 - mean * mean;
        }
        let rows = labels.len() as f64;
        Self { value: value / rows, slope: slope / rows, curvature: curvature / rows }
    }
}

/// Logits of probabilities: their logarithms, which the softmax turns back. A probability of 0 counts
/// as 2.2e-16.
#[must_use]
pub fn logits(probabilities: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of_row = |row: &Vec<f64>| row.iter().map(|p| p.max(f64::EPSILON).ln()).collect();
    probabilities.iter().map(of_row).collect()
}

/// Probabilities at a temperature: the softmax of `logits / temperature`.
#[must_use]
pub fn with_temperature(logits: &[Vec<f64>], temperature: f64) -> Vec<Vec<f64>> {
    let of_row = |row: &Vec<f64>| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = row.iter().map(|z| ((z - largest) / temperature).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    };
    logits.iter().map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::negative_log_likelihood;

    #[test]
    fn a_model_that_is_right_three_times_of_four_is_made_to_say_so() {
        // Logit 4 claims 98 %; ln 3 would claim 75 %.
        let logits = vec![vec![4.0, 0.0]; 4];
        let fit = fit_temperature(&logits, &[0, 0, 0, 1]).unwrap();
        assert!((fit.value - 4.0 / 3.0_f64.ln()).abs() < 1e-12, "{fit:?}");
        let scaled = with_temperature(&logits, fit.value);
        assert!((scaled[0][0] - 0.75).abs() < 1e-12);
        let after = negative_log_likelihood(&scaled, &[0, 0, 0, 1]).unwrap();
        assert!((after - fit.after).abs() < 1e-12 && fit.after < fit.before && fit.limit.is_none());
    }

    #[test]
    fn there_may_be_no_best_temperature() {
        let rows = vec![vec![2.0, 0.0], vec![0.0, 2.0]];
        let right = fit_temperature(&rows, &[0, 1]).unwrap();
        assert_eq!((right.limit, right.value), (Some(Limit::Coldest), 0.01));
        let wrong = fit_temperature(&rows, &[1, 0]).unwrap();
        assert_eq!((wrong.limit, wrong.value), (Some(Limit::Hottest), 100.0));
        assert!(fit_temperature(&[vec![f64::NAN, 0.0]], &[0]).is_err());
        assert!(fit_temperature(&[vec![1.0]], &[0]).is_err());
        assert!(fit_temperature(&rows, &[0, 2]).is_err());
    }

    #[test]
    fn logarithms_of_probabilities_serve_as_logits() {
        let probabilities = vec![vec![0.7, 0.2, 0.1]];
        let back = with_temperature(&logits(&probabilities), 1.0);
        assert!(back[0].iter().zip(&probabilities[0]).all(|(a, b)| (a - b).abs() < 1e-15));
    }
}
