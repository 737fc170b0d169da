//! Metrics of image classification, with one or several labels per image.

use anyhow::Result;

use super::ranking::{auroc, average_precision};
use sonotune_base::Error;

/// Truth, scores and predicted labels of a split, image by image.
#[derive(Debug, Clone)]
pub struct Classifications {
    classes: usize,
    /// Row-major `[images, classes]`.
    truth: Vec<bool>,
    predicted: Vec<bool>,
    scores: Vec<f64>,
}

/// Scores of one class against the rest. Fractions; a ratio of nothing to nothing is 0, as in the
/// reference and scikit-learn's `zero_division=0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassMetrics {
    pub true_positives: u64,
    pub false_positives: u64,
    pub false_negatives: u64,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// NaN if all images or none are of this class.
    pub auroc: f64,
    /// NaN if no image is of this class.
    pub average_precision: f64,
}

impl ClassMetrics {
    /// Images of this class.
    #[must_use]
    pub fn support(&self) -> u64 {
        self.true_positives + self.false_negatives
    }
}

/// Precision, recall and their harmonic mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRecall {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

impl PrecisionRecall {
    fn from_counts(true_positives: u64, false_positives: u64, false_negatives: u64) -> Self {
        let share = |of: u64| if of == 0 { 0.0 } else { true_positives as f64 / of as f64 };
        let precision = share(true_positives + false_positives);
        let recall = share(true_positives + false_negatives);
        let sum = precision + recall;
        let f1 = if sum == 0.0 { 0.0 } else { 2.0 * precision * recall / sum };
        Self { precision, recall, f1 }
    }
}

impl Classifications {
    /// An empty set for this many classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, truth: Vec::new(), predicted: Vec::new(), scores: Vec::new() }
    }

    /// Adds one image: indices of its true and of the predicted classes, and a score per class.
    ///
    /// # Errors
    /// A data error if an index is out of range, or a score is missing or NaN.
    pub fn add(&mut self, truth: &[usize], predicted: &[usize], scores: &[f64]) -> Result<()> {
        let row = |labels: &[usize], whose: &str| {
            let mut row = vec![false; self.classes];
            for &label in labels {
                *row.get_mut(label).ok_or_else(|| {
                    Error::data(format!(
                        "{whose} label {label} is out of range: there are {} classes",
                        self.classes
                    ))
                })? = true;
            }
            Ok::<_, anyhow::Error>(row)
        };
        let (truth, predicted) = (row(truth, "true")?, row(predicted, "predicted")?);
        if scores.len() != self.classes || scores.iter().any(|score| score.is_nan()) {
            return Err(Error::data(format!(
                "expected {} scores that are numbers, got {scores:?}",
                self.classes
            ))
            .into());
        }
        self.truth.extend(truth);
        self.predicted.extend(predicted);
        self.scores.extend(scores);
        Ok(())
    }

    /// Number of images added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.truth.len() / self.classes.max(1)
    }

    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each class against the rest, in the order of class indices.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassMetrics> {
        (0..self.classes).map(|class| self.class(class)).collect()
    }

    fn class(&self, class: usize) -> ClassMetrics {
        let truth = self.column(&self.truth, class);
        let predicted = self.column(&self.predicted, class);
        let scores = self.column(&self.scores, class);
        let count = |t: bool, p: bool| {
            truth.iter().zip(&predicted).filter(|&(&a, &b)| (a, b) == (t, p)).count() as u64
        };
        let (true_positives, false_positives, false_negatives) =
            (count(true, true), count(false, true), count(true, false));
        let PrecisionRecall { precision, recall, f1 } =
            PrecisionRecall::from_counts(true_positives, false_positives, false_negatives);
        ClassMetrics {
            true_positives,
            false_positives,
            false_negatives,
            precision,
            recall,
            f1,
            auroc: auroc(&scores, &truth),
            average_precision: average_precision(&scores, &truth),
        }
    }

    fn column<T: Copy>(&self, matrix: &[T], class: usize) -> Vec<T> {
        matrix.iter().skip(class).step_by(self.classes).copied().collect()
    }

    /// Share of images whose predicted labels are exactly the true ones; NaN without images.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let truth = self.truth.chunks(self.classes.max(1));
        let right = truth.zip(self.predicted.chunks(self.classes.max(1))).filter(|(t, p)| t == p);
        right.count() as f64 / self.len() as f64
    }

    /// Over all (image, class) pairs at once.
    #[must_use]
    pub fn micro(&self) -> PrecisionRecall {
        let classes = self.per_class();
        let sum = |count: fn(&ClassMetrics) -> u64| classes.iter().map(count).sum();
        PrecisionRecall::from_counts(
            sum(|c| c.true_positives),
            sum(|c| c.false_positives),
            sum(|c| c.false_negatives),
        )
    }

    /// `counts[truth][predicted]` of the images with one true and one predicted label.
    #[must_use]
    pub fn confusion_matrix(&self) -> Vec<Vec<u64>> {
        let mut counts = vec![vec![0; self.classes]; self.classes];
        let only = |row: &[bool]| {
            let mut labels = row.iter().enumerate().filter(|&(_, &set)| set).map(|(i, _)| i);
            labels.next().filter(|_| labels.next().is_none())
        };
        let truth = self.truth.chunks(self.classes.max(1));
        for (truth, predicted) in truth.zip(self.predicted.chunks(self.classes.max(1))) {
            if let (Some(truth), Some(predicted)) = (only(truth), only(predicted)) {
                counts[truth][predicted] += 1;
            }
        }
        counts
    }
}

/// Mean over all classes, including those without images: precision, recall, F1.
///
/// F1 is the mean of the classes' F1, not the F1 of the means, as in the paper's Table 2.
#[must_use]
pub fn macro_mean(classes: &[ClassMetrics]) -> PrecisionRecall {
    let mean = |value: fn(&ClassMetrics) -> f64| {
        classes.iter().map(value).sum::<f64>() / classes.len() as f64
    };
    PrecisionRecall {
        precision: mean(|c| c.precision),
        recall: mean(|c| c.recall),
        f1: mean(|c| c.f1),
    }
}

/// Mean of the values that are defined (not NaN); NaN if there are none.
#[must_use]
pub fn mean_defined(values: impl IntoIterator<Item = f64>) -> f64 {
    let defined: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
    defined.iter().sum::<f64>() / defined.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_class_counts_zero_in_macro_means() {
        let mut all = Classifications::new(3);
        all.add(&[0], &[0], &[0.9, 0.1, 0.0]).unwrap();
        all.add(&[1], &[0], &[0.6, 0.5, 0.0]).unwrap();
        let classes = all.per_class();
        assert_eq!((classes[0].precision, classes[0].recall), (0.5, 1.0));
        assert_eq!((classes[2].f1, classes[2].support()), (0.0, 0));
        assert!(classes[2].auroc.is_nan() && classes[2].average_precision.is_nan());
        assert!((macro_mean(&classes).f1 - (2.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!(all.accuracy(), 0.5);
        assert_eq!(all.confusion_matrix(), [[1, 0, 0], [1, 0, 0], [0, 0, 0]]);
        assert_eq!(mean_defined(classes.iter().map(|c| c.auroc)), 1.0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_counted() {
        let mut all = Classifications::new(2);
        assert!(all.add(&[2], &[0], &[0.5, 0.5]).unwrap_err().to_string().contains("true label 2"));
        assert!(all.add(&[0], &[7], &[0.5, 0.5]).is_err());
        assert!(all.add(&[0], &[0], &[0.5]).is_err());
        assert!(all.add(&[0], &[0], &[0.5, f64::NAN]).is_err());
        assert!(all.is_empty() && all.accuracy().is_nan());
    }

    #[test]
    fn several_labels_count_one_by_one_in_the_micro_mean() {
        let mut all = Classifications::new(3);
        all.add(&[0, 1], &[0, 2], &[0.9, 0.2, 0.8]).unwrap();
        all.add(&[], &[], &[0.1, 0.2, 0.3]).unwrap();
        assert_eq!(all.micro(), PrecisionRecall { precision: 0.5, recall: 0.5, f1: 0.5 });
        assert_eq!(all.accuracy(), 0.5);
    }
}
