//! How many patients a difference needs.

use crate::{
    bootstrap::Estimate,
    error::{Error, Result},
    probability::normal_quantile,
};

/// The smallest true difference that a two-sided test at `alpha` finds with probability `power`, by the
/// normal approximation: (z(1 − α / 2) + z(power)) · standard error. With several pairs `alpha` is that of
/// Holm's first step, which makes this the difference that any of them would show. NaN if the standard error is 0, as
/// between models whose scores are all equal: how much patients differ is unknown then, not nothing.
#[must_use]
pub fn detectable_difference(standard_error: f64, alpha: f64, power: f64) -> f64 {
    if standard_error == 0.0 {
        return f64::NAN;
    }
    reach(alpha, power) * standard_error
}

/// Number of patients at which a true difference as large as the one observed would be found, if the
/// standard error shrinks with the square root of their number; `None` if the difference is 0 or
/// undefined.
#[must_use]
pub fn patients_needed(
    patients: usize,
    difference: &Estimate,
    alpha: f64,
    power: f64,
) -> Option<u64> {
    let ratio = reach(alpha, power) * difference.standard_error / difference.value;
    let needed = (patients as f64 * ratio.powi(2)).ceil();
    // Beyond any study there will be.
    (needed.is_finite() && needed < 1e12).then_some(needed as u64)
}

fn reach(alpha: f64, power: f64) -> f64 {
    normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)
}

pub(super) fn check(power: f64) -> Result<()> {
    if power > 0.0 && power < 1.0 {
        return Ok(());
    }
    Err(Error::Option {
        key: "power",
        value: power,
        expected: "a share between 0 and 1, such as 0.8",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::NoInterval;

    #[test]
    fn the_textbook_example() {
        // Differences with standard deviation 1: 0.5 needs (1.960 + 0.842)² / 0.25 = 31.4 patients.
        let error = 1.0 / 100_f64.sqrt();
        let estimate = |value: f64| Estimate {
            value,
            standard_error: error,
            interval: Err(NoInterval::NoVariance),
            undefined_resamples: 0,
        };
        assert_eq!(patients_needed(100, &estimate(0.5), 0.05, 0.8), Some(32));
        assert_eq!(patients_needed(100, &estimate(-0.5), 0.05, 0.8), Some(32));
        assert_eq!(patients_needed(100, &estimate(0.0), 0.05, 0.8), None);
        assert_eq!(patients_needed(100, &estimate(f64::NAN), 0.05, 0.8), None);
        assert!((detectable_difference(error, 0.05, 0.8) - 0.280_158_5).abs() < 1e-6);
        assert!(detectable_difference(0.0, 0.05, 0.8).is_nan());
    }
}
