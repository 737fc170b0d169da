//! McNemar's test: do two models err on different images equally often?

use crate::{
    error::{Result, same_length},
    probability::{chi_squared_above, fair_at_most},
};

/// Result of McNemar's test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct McNemar {
    /// Rows that the first model alone has right.
    pub only_first: u64,
    /// Rows that the second model alone has right.
    pub only_second: u64,
    /// Exact two-sided p-value, from the binomial distribution; prefer it.
    pub exact_p: f64,
    /// From χ² with continuity correction: (|b − c| − 1)² / (b + c).
    pub corrected_p: f64,
}

/// Tests whether two models have equal accuracy on the same rows, which must be independent: one per
/// patient. `first` and `second` say which rows each has right. Without a row on which they differ both
/// p-values are 1.
///
/// Same as statsmodels' `mcnemar`, except that it squares the correction even if |b − c| < 1, which gives equal
/// models a p-value below 1.
///
/// # Errors
/// If the slices differ in length.
pub fn mcnemar(first: &[bool], second: &[bool]) -> Result<McNemar> {
    same_length("rows of the second model", first.len(), second.len())?;
    let count = |pair: (bool, bool)| {
        first.iter().zip(second).filter(|(a, b)| (**a, **b) == pair).count() as u64
    };
    let (only_first, only_second) = (count((true, false)), count((false, true)));
    let differ = only_first + only_second;
    let excess = (only_first.abs_diff(only_second) as f64 - 1.0).max(0.0);
    let statistic = if differ == 0 { 0.0 } else { excess.powi(2) / differ as f64 };
    Ok(McNemar {
        only_first,
        only_second,
        exact_p: (2.0 * fair_at_most(only_first.min(only_second), differ)).min(1.0),
        corrected_p: chi_squared_above(statistic),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_models_do_not_differ() {
        let result = mcnemar(&[true, false, true], &[true, true, false]).unwrap();
        assert_eq!((result.only_first, result.only_second), (1, 1));
        assert_eq!((result.exact_p, result.corrected_p), (1.0, 1.0));
        let none = mcnemar(&[true, false], &[true, false]).unwrap();
        assert_eq!((none.exact_p, none.corrected_p), (1.0, 1.0));
        assert!(mcnemar(&[true], &[]).is_err());
    }
}
