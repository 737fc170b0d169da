//! Reliability diagrams, expected and maximum calibration error.

use super::{check, each_probability};
use crate::error::{Error, Result, same_length};

/// How confidences are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bins {
    /// This number of equal parts of [0, 1], each including its lower edge, the last also 1: as in
    /// torchmetrics.
    EqualWidth(usize),
    /// Parts with about equal numbers of rows, between quantiles of the confidences, each including its
    /// upper edge: as scikit-learn's `calibration_curve(strategy="quantile")`. Rows of equal confidence stay
    /// together, so that parts can be empty.
    EqualMass(usize),
}

/// Rows of similar confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    pub low: f64,
    pub high: f64,
    pub rows: usize,
    /// Mean confidence of its rows; NaN if there are none.
    pub confidence: f64,
    /// Share of its rows that are right; NaN if there are none.
    pub accuracy: f64,
}

/// Confidence against accuracy, bin by bin from the lowest confidence on.
#[derive(Debug, Clone, PartialEq)]
pub struct Reliability {
    pub bins: Vec<Bin>,
}

impl Reliability {
    /// Expected calibration error: the gap between confidence and accuracy, averaged over rows. In [0, 1].
    /// It depends on the bins and is biased upwards with few rows, so report both with it.
    #[must_use]
    pub fn expected_error(&self) -> f64 {
        let rows: usize = self.bins.iter().map(|bin| bin.rows).sum();
        let filled = self.bins.iter().filter(|bin| bin.rows > 0);
        filled.map(|bin| bin.rows as f64 / rows as f64 * bin.gap()).sum()
    }

    /// Maximum calibration error: the largest gap of any bin with rows. A bin of one row can decide it.
    #[must_use]
    pub fn maximum_error(&self) -> f64 {
        let filled = self.bins.iter().filter(|bin| bin.rows > 0);
        filled.map(Bin::gap).fold(0.0, f64::max)
    }
}

impl Bin {
    fn gap(&self) -> f64 {
        (self.confidence - self.accuracy).abs()
    }
}

/// Divides rows by confidence. `confidences` are in [0, 1]; `correct` says which rows are right, or, with the
/// probability of one category as confidence, which are of that category.
///
/// # Errors
/// If there are no rows or bins, the slices differ in length, or a confidence is outside [0, 1].
pub fn reliability(confidences: &[f64], correct: &[bool], bins: Bins) -> Result<Reliability> {
    same_length("correct", confidences.len(), correct.len())?;
    each_probability("confidences", confidences)?;
    if confidences.is_empty() {
        return Err(Error::Empty { what: "rows" });
    }
    let (Bins::EqualWidth(count) | Bins::EqualMass(count)) = bins;
    if count == 0 {
        return Err(Error::Option { key: "bins", value: 0.0, expected: "at least 1" });
    }
    let edges = bins.edges(confidences);
    let inner = &edges[1..count];
    let (mut rows, mut sums, mut right) = (vec![0; count], vec![0.0; count], vec![0; count]);
    for (&confidence, &correct) in confidences.iter().zip(correct) {
        let bin = match bins {
            Bins::EqualWidth(_) => inner.partition_point(|edge| *edge <= confidence),
            Bins::EqualMass(_) => inner.partition_point(|edge| *edge < confidence),
        };
        rows[bin] += 1;
        sums[bin] += confidence;
        right[bin] += u32::from(correct);
    }
    let bins = (0..count).map(|bin| Bin {
        low: edges[bin],
        high: edges[bin + 1],
        rows: rows[bin],
        confidence: sums[bin] / rows[bin] as f64,
        accuracy: f64::from(right[bin]) / rows[bin] as f64,
    });
    Ok(Reliability { bins: bins.collect() })
}

impl Bins {
    fn edges(self, confidences: &[f64]) -> Vec<f64> {
        match self {
            Self::EqualWidth(count) => (0..=count).map(|i| i as f64 / count as f64).collect(),
            Self::EqualMass(count) => {
                let mut sorted = confidences.to_vec();
                sorted.sort_by(f64::total_cmp);
                let share = |i: usize| i as f64 / count as f64;
                (0..=count).map(|i| crate::bootstrap::quantile(&sorted, share(i))).collect()
            }
        }
    }
}

/// The highest probability of each row, and whether its category is the true one. The first of equal
/// probabilities counts.
///
/// # Errors
/// If the probabilities of a row do not add up to 1, or a label is out of range.
pub fn top_label(probabilities: &[Vec<f64>], labels: &[usize]) -> Result<(Vec<f64>, Vec<bool>)> {
    check(probabilities, labels)?;
    let top = |row: &Vec<f64>| {
        let better =
            |best: (usize, f64), (i, &p): (usize, &f64)| if p > best.1 { (i, p) } else { best };
        row.iter().enumerate().fold((0, f64::NEG_INFINITY), better)
    };
    let tops = probabilities.iter().map(top);
    Ok(tops.zip(labels).map(|((category, p), &label)| (p, category == label)).unzip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_by_hand() {
        let table =
            reliability(&[0.25, 0.5, 0.75, 1.0], &[true, false, true, true], Bins::EqualWidth(2));
        let table = table.unwrap();
        let [low, high] = table.bins[..] else { panic!("{table:?}") };
        assert_eq!((low.rows, low.confidence, low.accuracy), (1, 0.25, 1.0));
        assert_eq!((high.rows, high.confidence), (3, 0.75));
        let gap = 0.75 - 2.0 / 3.0;
        assert!((table.expected_error() - (0.75 / 4.0 + 0.75 * gap)).abs() < 1e-12);
        assert_eq!(table.maximum_error(), 0.75);
    }

    #[test]
    fn equal_confidences_share_a_bin() {
        let table = reliability(&[0.5; 6], &[true; 6], Bins::EqualMass(3)).unwrap();
        assert_eq!(table.bins.iter().map(|bin| bin.rows).collect::<Vec<_>>(), [6, 0, 0]);
        assert!(table.bins[1].confidence.is_nan());
        assert_eq!(table.expected_error(), 0.5);
    }

    #[test]
    fn what_is_not_a_probability_is_refused() {
        let bins = Bins::EqualWidth(2);
        assert!(reliability(&[1.5], &[true], bins).is_err());
        assert!(reliability(&[f64::NAN], &[true], bins).is_err());
        assert!(reliability(&[], &[], bins).is_err());
        assert!(reliability(&[0.5], &[], bins).is_err());
        assert!(reliability(&[0.5], &[true], Bins::EqualMass(0)).is_err());
        let error = top_label(&[vec![0.9, 0.9]], &[0]).unwrap_err().to_string();
        assert_eq!(
            error,
            "sum of probabilities: value 0 is 1.8, expected 1: categories must exclude each other"
        );
        assert!(top_label(&[vec![0.5, 0.5]], &[2]).unwrap_err().to_string().contains("category 2"));
        let (top, right) = top_label(&[vec![0.5, 0.5], vec![0.25, 0.75]], &[0, 0]).unwrap();
        assert_eq!((top, right), (vec![0.5, 0.75], vec![true, false]));
    }
}
