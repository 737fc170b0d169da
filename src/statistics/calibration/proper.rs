//! Proper scores: best, on average, if and only if the probabilities are right.

use super::{check, each_probability};
use crate::error::{Error, Result, same_length};

/// Mean squared error of the probability of one category; in [0, 1], lower is better.
///
/// # Errors
/// If there are no rows, the slices differ in length, or a probability is outside [0, 1].
pub fn brier_binary(probabilities: &[f64], positive: &[bool]) -> Result<f64> {
    same_length("positive", probabilities.len(), positive.len())?;
    each_probability("probabilities", probabilities)?;
    if probabilities.is_empty() {
        return Err(Error::Empty { what: "rows" });
    }
    let square = |(p, &y): (&f64, &bool)| (p - f64::from(u8::from(y))).powi(2);
    let sum: f64 = probabilities.iter().zip(positive).map(square).sum();
    Ok(sum / probabilities.len() as f64)
}

/// Squared error summed over categories, averaged over rows: Brier's definition (1950), in [0, 2]. With
/// two categories it is twice [`brier_binary`].
///
/// # Errors
/// If there are no rows, the probabilities of a row do not add up to 1, or a label is out of range.
pub fn brier(probabilities: &[Vec<f64>], labels: &[usize]) -> Result<f64> {
    check(probabilities, labels)?;
    let of_row = |(row, &label): (&Vec<f64>, &usize)| -> f64 {
        let truth = |category| f64::from(u8::from(category == label));
        row.iter().enumerate().map(|(category, p)| (p - truth(category)).powi(2)).sum()
    };
    let sum: f64 = probabilities.iter().zip(labels).map(of_row).sum();
    Ok(sum / labels.len() as f64)
}

/// Mean of −ln p over rows, p being the probability of the true category. A probability of 0 counts as
/// 2.2e-16, as in scikit-learn's `log_loss`, so that one row cannot make it infinite.
///
/// # Errors
/// If there are no rows, the probabilities of a row do not add up to 1, or a label is out of range.
pub fn negative_log_likelihood(probabilities: &[Vec<f64>], labels: &[usize]) -> Result<f64> {
    check(probabilities, labels)?;
    let of_row = |(row, &label): (&Vec<f64>, &usize)| -row[label].max(f64::EPSILON).ln();
    let sum: f64 = probabilities.iter().zip(labels).map(of_row).sum();
    Ok(sum / labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        let rows = [vec![0.75, 0.25], vec![0.5, 0.5]];
        assert_eq!(brier(&rows, &[0, 1]).unwrap(), (0.125 + 0.5) / 2.0);
        assert_eq!(brier_binary(&[0.25, 0.5], &[false, true]).unwrap(), (0.0625 + 0.25) / 2.0);
        let likelihood = negative_log_likelihood(&[vec![1.0, 0.0]], &[1]).unwrap();
        assert!((likelihood - 36.043_653_389_117).abs() < 1e-9, "{likelihood}");
        assert!(brier(&[], &[]).is_err() && brier(&rows, &[0]).is_err());
        assert!(brier(&[vec![0.5, 0.5], vec![1.0]], &[0, 0]).is_err());
        assert!(brier_binary(&[-0.1], &[true]).is_err());
    }
}
