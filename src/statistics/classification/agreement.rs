//! Agreement beyond chance.

use super::Counts;

/// How much a wrong category counts, by its distance from the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weighting {
    /// All errors alike.
    #[default]
    None,
    /// For ordered categories, by the distance of their indices.
    Linear,
    /// By the square of the distance.
    Quadratic,
}

impl Weighting {
    fn of(self, a: usize, b: usize) -> f64 {
        let distance = a.abs_diff(b) as f64;
        match self {
            Self::None => distance.min(1.0),
            Self::Linear => distance,
            Self::Quadratic => distance * distance,
        }
    }
}

/// Matthews' correlation of truth and prediction, for any number of categories (Gorodkin 2004); in
/// [-1, 1]. NaN if all labels or all predictions are of one category: scikit-learn gives 0 there.
#[must_use]
pub fn matthews_correlation(counts: &Counts) -> f64 {
    let sum = |of: &dyn Fn(usize) -> f64| (0..counts.categories()).map(of).sum::<f64>();
    let total = counts.total();
    let covariance =
        sum(&|k| counts.right(k)) * total - sum(&|k| counts.of_label(k) * counts.of_prediction(k));
    let labels = total * total - sum(&|k| counts.of_label(k).powi(2));
    let predictions = total * total - sum(&|k| counts.of_prediction(k).powi(2));
    covariance / (labels * predictions).sqrt()
}

/// Cohen's kappa: 1 − disagreement / disagreement expected by chance. NaN if chance alone agrees fully, that
/// is, all labels and predictions are of one category.
#[must_use]
pub fn cohens_kappa(counts: &Counts, weighting: Weighting) -> f64 {
    let (mut observed, mut expected) = (0.0, 0.0);
    for (label, row) in counts.table().iter().enumerate() {
        for (prediction, &count) in row.iter().enumerate() {
            let weight = weighting.of(label, prediction);
            observed += weight * count as f64;
            expected +=
                weight * counts.of_label(label) * counts.of_prediction(prediction) / counts.total();
        }
    }
    1.0 - observed / expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_categories_by_hand() {
        let counts = Counts::new(&[1, 1, 1, 0], &[1, 1, 0, 0], 2).unwrap();
        // (2·1 − 0·1) / √(2·3·1·2)
        assert!((matthews_correlation(&counts) - 2.0 / 12.0_f64.sqrt()).abs() < 1e-12);
        assert!((cohens_kappa(&counts, Weighting::None) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn constant_predictions_have_no_correlation() {
        let counts = Counts::new(&[1, 0], &[1, 1], 2).unwrap();
        assert!(matthews_correlation(&counts).is_nan());
        assert_eq!(cohens_kappa(&counts, Weighting::None), 0.0);
        let same = Counts::new(&[1, 1], &[1, 1], 2).unwrap();
        assert!(cohens_kappa(&same, Weighting::Quadratic).is_nan());
    }
}
