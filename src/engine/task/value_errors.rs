//! Scores of a task that predicts one number per image.

use anyhow::{Result, ensure};

use super::{Evaluator, Prediction};
use crate::batch::Target;
use sonotune_base::Error;
use sonotune_metrics::{ImageScores, Metric, Report};

/// Compares a predicted number of each image with the dataset's: mean absolute error (`mae`), root of the mean squared
/// error (`rmse`), both in the unit of the number, and the coefficient of determination (`r2`: 1 for a perfect model, 0
/// for one that always predicts the mean of this split, NaN if all images have the same number). `mae_of_mean` is the
/// error of that constant model.
///
/// The prediction of an image holds the number in [`Prediction::values`] under the name of the dataset's key.
#[derive(Debug, Clone)]
pub struct ValueErrors {
    value: String,
    /// Predicted and true.
    pairs: Vec<(f64, f64)>,
}

impl ValueErrors {
    /// `value` is one of the keys in `dataset.values`.
    #[must_use]
    pub fn of(value: &str) -> Self {
        Self { value: value.to_owned(), pairs: Vec::new() }
    }

    fn pair(&self, prediction: &Prediction, target: &Target) -> Result<(f64, f64)> {
        let Some(&found) = prediction.values.get(&self.value) else {
            let known: Vec<_> = prediction.values.keys().cloned().collect();
            return Err(Error::config(format!(
                "the task predicted no value {:?} for image {}; it predicted {known:?}",
                self.value, target.image_id
            ))
            .into());
        };
        Ok((found, target.value(&self.value)?))
    }

    fn mean(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        let sum: f64 = self.pairs.iter().map(|&(found, truth)| of(found, truth)).sum();
        sum / self.pairs.len() as f64
    }
}

impl Evaluator for ValueErrors {
    fn add(&mut self, prediction: &Prediction, target: &Target) -> Result<()> {
        self.pairs.push(self.pair(prediction, target)?);
        Ok(())
    }

    fn image_score(&self) -> Option<Metric> {
        let (found, truth) = self.pairs.last()?;
        Some(Metric::highest("minus_absolute_error", -(found - truth).abs()))
    }

    fn image_scores(&self, prediction: &Prediction, target: &Target) -> Result<ImageScores> {
        let (found, truth) = self.pair(prediction, target)?;
        let metrics = vec![
            Metric::lowest("absolute_error", (found - truth).abs()),
            Metric::lowest("squared_error", (found - truth).powi(2)),
        ];
        Ok(ImageScores { metrics, words: Vec::new() })
    }

    fn finish(&mut self) -> Result<Report> {
        ensure!(!self.pairs.is_empty(), Error::data("there is no image to score"));
        let mean = self.mean(|_, truth| truth);
        let squared = self.mean(|found, truth| (found - truth).powi(2));
        let spread = self.mean(|_, truth| (truth - mean).powi(2));
        let metrics = vec![
            Metric::lowest("mae", self.mean(|found, truth| (found - truth).abs())),
            Metric::lowest("rmse", squared.sqrt()),
            Metric::highest("r2", if spread > 0.0 { 1.0 - squared / spread } else { f64::NAN }),
            Metric::new("mae_of_mean", self.mean(|_, truth| (truth - mean).abs())),
        ];
        Ok(Report { metrics, ..Report::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(pairs: &[(f64, f64)]) -> Vec<f64> {
        let mut errors = ValueErrors { value: "weeks".to_owned(), pairs: pairs.to_vec() };
        errors.finish().unwrap().metrics.iter().map(|metric| metric.value).collect()
    }

    /// Computed by hand: errors 1, 0, 2 of truths 1, 2, 6 with the mean 3.
    #[test]
    fn errors_are_in_the_unit_of_the_value_and_r2_compares_with_the_mean() {
        let [mae, rmse, r2, mae_of_mean] = scored(&[(2.0, 1.0), (2.0, 2.0), (4.0, 6.0)])[..] else {
            panic!("four metrics")
        };
        assert!((mae - 1.0).abs() < 1e-12 && (rmse - (5.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((r2 - (1.0 - 5.0 / 14.0)).abs() < 1e-12 && (mae_of_mean - 2.0).abs() < 1e-12);
    }

    #[test]
    fn equal_truths_leave_r2_undefined_and_no_image_is_an_error() {
        assert!(scored(&[(2.0, 1.0), (1.0, 1.0)])[2].is_nan());
        let message = ValueErrors::of("weeks").finish().unwrap_err().to_string();
        assert!(message.contains("no image"), "{message}");
    }
}
