//! Figures of a classification with one label per row, with one rule for categories that are absent.
//!
//! # The rule
//! A figure of a category without a positive is undefined, and so is the precision of one that is never
//! predicted. Undefined figures are left out of every mean, and [`Mean::note`] names them. Nothing
//! counts as 0 or 1 in their place: scikit-learn's `zero_division` would choose the answer.

mod agreement;
mod cost;
mod mean;

pub use agreement::{Weighting, cohens_kappa, matthews_correlation};
pub use cost::{Cost, expected_cost};
pub use mean::Mean;

use sonotune_metrics::ranking::{auroc, average_precision};

use crate::error::{Error, Result, same_length};

/// `counts[truth][predicted]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    counts: Vec<Vec<u64>>,
}

impl Counts {
    /// Counts rows by true and predicted category, of `categories` in all.
    ///
    /// # Errors
    /// If there are no rows, the slices differ in length, or an index is out of range.
    pub fn new(labels: &[usize], predicted: &[usize], categories: usize) -> Result<Self> {
        same_length("predicted", labels.len(), predicted.len())?;
        if labels.is_empty() {
            return Err(Error::Empty { what: "rows" });
        }
        let mut counts = vec![vec![0; categories]; categories];
        for (place, (&label, &prediction)) in labels.iter().zip(predicted).enumerate() {
            for (what, got) in [("labels", label), ("predicted", prediction)] {
                if got >= categories {
                    return Err(Error::Category { what, place, got, categories });
                }
            }
            counts[label][prediction] += 1;
        }
        Ok(Self { counts })
    }

    /// Number of categories.
    #[must_use]
    pub fn categories(&self) -> usize {
        self.counts.len()
    }

    /// `[truth][predicted]`.
    #[must_use]
    pub fn table(&self) -> &[Vec<u64>] {
        &self.counts
    }

    fn of_label(&self, category: usize) -> f64 {
        self.counts[category].iter().sum::<u64>() as f64
    }

    fn of_prediction(&self, category: usize) -> f64 {
        self.counts.iter().map(|row| row[category]).sum::<u64>() as f64
    }

    fn right(&self, category: usize) -> f64 {
        self.counts[category][category] as f64
    }

    fn total(&self) -> f64 {
        self.counts.iter().flatten().sum::<u64>() as f64
    }

    fn mean(&self, of: impl Fn(usize) -> f64) -> Mean {
        Mean::new((0..self.categories()).map(of).collect())
    }

    /// Share of rows whose prediction is right.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        (0..self.categories()).map(|category| self.right(category)).sum::<f64>() / self.total()
    }

    /// Recall of each category; the mean is the balanced accuracy.
    #[must_use]
    pub fn recall(&self) -> Mean {
        // 0 / 0 is NaN, which is the rule.
        self.mean(|category| self.right(category) / self.of_label(category))
    }

    /// Precision of each category.
    #[must_use]
    pub fn precision(&self) -> Mean {
        self.mean(|category| match self.of_label(category) {
            0.0 => f64::NAN,
            _ => self.right(category) / self.of_prediction(category),
        })
    }

    /// F1 of each category: 2 · right / (true + predicted). 0 for one that is present but never predicted.
    #[must_use]
    pub fn f1(&self) -> Mean {
        self.mean(|category| match self.of_label(category) {
            0.0 => f64::NAN,
            positives => 2.0 * self.right(category) / (positives + self.of_prediction(category)),
        })
    }
}

/// AUROC of each category against the rest. `probabilities` are `[rows][categories]`, or any scores.
///
/// # Errors
/// If there are no rows, the slices differ in length, a score is NaN, or a label is out of range.
pub fn one_vs_rest_auroc(probabilities: &[Vec<f64>], labels: &[usize]) -> Result<Mean> {
    one_vs_rest(probabilities, labels, auroc)
}

/// Average precision of each category against the rest (a sum of steps, as scikit-learn's).
///
/// # Errors
/// Same errors as [`one_vs_rest_auroc`].
pub fn one_vs_rest_average_precision(probabilities: &[Vec<f64>], labels: &[usize]) -> Result<Mean> {
    one_vs_rest(probabilities, labels, average_precision)
}

fn one_vs_rest(
    scores: &[Vec<f64>],
    labels: &[usize],
    figure: fn(&[f64], &[bool]) -> f64,
) -> Result<Mean> {
    same_length("labels", scores.len(), labels.len())?;
    let categories = scores.first().ok_or(Error::Empty { what: "rows" })?.len();
    for (place, (row, &got)) in scores.iter().zip(labels).enumerate() {
        same_length("scores of a row", categories, row.len())?;
        if let Some(value) = row.iter().find(|value| value.is_nan()) {
            let (what, expected) = ("scores", "a number");
            return Err(Error::Value { what, place, value: *value, expected });
        }
        if got >= categories {
            return Err(Error::Category { what: "labels", place, got, categories });
        }
    }
    let of = |category: usize| {
        let scores: Vec<f64> = scores.iter().map(|row| row[category]).collect();
        let positive: Vec<bool> = labels.iter().map(|&label| label == category).collect();
        figure(&scores, &positive)
    };
    Ok(Mean::new((0..categories).map(of).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_categories_are_left_out_of_every_mean() {
        // Category 2 is predicted but absent, 3 is neither.
        let counts = Counts::new(&[0, 0, 1, 1], &[0, 2, 1, 1], 4).unwrap();
        assert_eq!(counts.recall().value, 0.75);
        assert_eq!(counts.precision().value, 1.0);
        assert!((counts.f1().value - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        assert_eq!(counts.recall().undefined(), [2, 3]);
        assert_eq!(counts.accuracy(), 0.75);
        // Category 1 is present but never predicted: its precision alone is undefined.
        let counts = Counts::new(&[0, 1], &[0, 0], 2).unwrap();
        assert_eq!(counts.precision().undefined(), [1]);
        assert_eq!((counts.precision().value, counts.recall().value), (0.5, 0.5));
        assert_eq!(counts.f1().of, [2.0 / 3.0, 0.0]);
        let note = counts.precision().note("precision", &["benign", "malignant"]).unwrap();
        assert_eq!(note, "precision is the mean over 1 of 2 categories: undefined for malignant");
        assert_eq!(counts.recall().note("recall", &["a", "b"]), None);
    }

    #[test]
    fn ranking_figures_follow_the_same_rule() {
        let rows = [vec![0.9, 0.1, 0.0], vec![0.2, 0.8, 0.0], vec![0.6, 0.4, 0.0]];
        let area = one_vs_rest_auroc(&rows, &[0, 1, 0]).unwrap();
        assert_eq!((area.value, area.undefined()), (1.0, vec![2]));
        let precision = one_vs_rest_average_precision(&rows, &[0, 0, 0]).unwrap();
        assert_eq!((precision.value, precision.undefined()), (1.0, vec![1, 2]));
        // Without a negative there is nothing to order.
        assert!(one_vs_rest_auroc(&rows, &[0, 0, 0]).unwrap().value.is_nan());
        assert!(one_vs_rest_auroc(&rows, &[0, 3, 0]).is_err());
        assert!(one_vs_rest_auroc(&[vec![f64::NAN]], &[0]).is_err());
        assert!(one_vs_rest_auroc(&[], &[]).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Counts::new(&[], &[], 2).is_err() && Counts::new(&[0], &[], 2).is_err());
        let error = Counts::new(&[0, 5], &[0, 0], 2).unwrap_err().to_string();
        assert_eq!(error, "labels: value 1 is category 5, but there are 2");
    }
}
