//! Wilcoxon's signed-rank test.

use crate::{
    error::{Error, Result, all_finite},
    probability::normal_two_sided,
};

/// Result of the signed-rank test, with SciPy's conventions for the method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wilcoxon {
    /// The smaller of the two sums of ranks.
    pub statistic: f64,
    /// Two-sided; NaN if all differences are 0.
    pub p_value: f64,
    /// Whether the p-value is that of the exact distribution, not of the normal approximation.
    pub exact: bool,
    /// Differences that are 0, which are left out (`zero_method="wilcox"`).
    pub zeros: usize,
}

/// Most differences with an exact p-value, if neither ties nor zeros are among them.
const EXACT: usize = 50;
/// Most differences with an exact p-value otherwise.
const EXACT_WITH_TIES: usize = 13;

/// Tests whether paired differences, one per patient, are symmetric around 0. Exact for at most 50
/// differences without ties and zeros, or 13 with them; else the normal approximation, corrected for
/// ties but not for continuity.
///
/// Same as `scipy.stats.wilcoxon(differences)`.
///
/// # Errors
/// If there are no differences, or one is not finite.
pub fn wilcoxon(differences: &[f64]) -> Result<Wilcoxon> {
    if differences.is_empty() {
        return Err(Error::Empty { what: "differences" });
    }
    all_finite("differences", differences)?;
    let mut others: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    others.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let zeros = differences.len() - others.len();
    // Ranks times two are whole numbers even where ties share a mean rank.
    let mut doubled = Vec::with_capacity(others.len());
    let (mut positive, mut ties) = (0_usize, 0.0);
    for group in others.chunk_by(|a, b| a.abs() == b.abs()) {
        let rank = 2 * doubled.len() + group.len() + 1;
        positive += rank * group.iter().filter(|d| **d > 0.0).count();
        doubled.extend(std::iter::repeat_n(rank, group.len()));
        let size = group.len() as f64;
        ties += size.powi(3) - size;
    }
    let total: usize = doubled.iter().sum();
    let smaller = positive.min(total - positive);
    let most = if ties == 0.0 && zeros == 0 { EXACT } else { EXACT_WITH_TIES };
    let exact = differences.len() <= most;
    let p_value = match (others.len(), exact) {
        (0, _) => f64::NAN,
        (_, true) => exact_p(&doubled, smaller),
        (count, false) => {
            let n = count as f64;
            let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0;
            normal_two_sided((positive as f64 / 2.0 - n * (n + 1.0) / 4.0) / variance.sqrt())
        }
    };
    Ok(Wilcoxon { statistic: smaller as f64 / 2.0, p_value, exact, zeros })
}

/// Twice the share of all signs whose sum of positive ranks is at most `smaller`.
fn exact_p(ranks: &[usize], smaller: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    // Probability of each sum.
    let mut sums = vec![0.0; total + 1];
    sums[0] = 1.0;
    let mut reached = 0;
    for &rank in ranks {
        for sum in (0..=reached).rev() {
            sums[sum] /= 2.0;
            sums[sum + rank] += sums[sum];
        }
        reached += rank;
    }
    (2.0 * sums[..=smaller].iter().sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_differences_by_hand() {
        // Ranks 1, 2, 3; the negative one has rank 1. Sums 0 and 1 of 8 are at most that far out.
        let result = wilcoxon(&[-0.5, 1.0, 2.0]).unwrap();
        assert_eq!((result.statistic, result.p_value, result.exact), (1.0, 0.5, true));
        let result = wilcoxon(&[0.0, 1.0, 1.0]).unwrap();
        assert_eq!((result.statistic, result.p_value, result.zeros), (0.0, 0.5, 1));
        assert!(wilcoxon(&[0.0, 0.0]).unwrap().p_value.is_nan());
        assert!(wilcoxon(&[]).is_err() && wilcoxon(&[f64::INFINITY]).is_err());
    }
}
