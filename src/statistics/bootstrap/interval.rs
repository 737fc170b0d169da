//! A figure with its interval.

use super::{Distribution, Method, Options};
use crate::error::Result;

/// Limits that contain the true value with the given confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
    /// The method that was used, which may differ from the one asked for ([`Method::Studentized`]).
    pub method: Method,
}

impl Interval {
    /// Whether both limits are on the same side of 0.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }

    /// The part within the range of the figure: a bootstrap-t interval can end above a Dice of 1.
    #[must_use]
    pub fn within(self, lowest: f64, highest: f64) -> Self {
        Self { low: self.low.max(lowest), high: self.high.min(highest), ..self }
    }
}

/// Why there is no interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoInterval {
    #[error("the figure itself is undefined")]
    Undefined,
    #[error("there is only one patient")]
    OnePatient,
    #[error("every resample gives the same value")]
    NoVariance,
    #[error("it is undefined in {undefined} of {resamples} resamples")]
    MostlyUndefined { undefined: usize, resamples: usize },
    #[error(
        "it is undefined or constant without one of the patients, so BCa cannot measure the skew"
    )]
    NoJackknife,
    #[error("it is outside all resamples, so BCa cannot correct its bias")]
    OutsideResamples,
}

/// A figure and how certain it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The figure of all rows; NaN if it is undefined.
    pub value: f64,
    /// Standard deviation over resamples; NaN if there are fewer than two.
    pub standard_error: f64,
    pub interval: std::result::Result<Interval, NoInterval>,
    /// Resamples in which the figure is undefined, such as AUROC in one without positives. They are left
    /// out of the interval, which then holds for samples in which it is defined.
    pub undefined_resamples: usize,
}

impl Distribution {
    /// The figure with its interval.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn estimate(&self, options: &Options) -> Result<Estimate> {
        options.check()?;
        let mut defined: Vec<f64> =
            self.resampled.iter().copied().filter(|value| !value.is_nan()).collect();
        defined.sort_by(f64::total_cmp);
        let interval = match self.obstacle(&defined) {
            Some(why) => Err(why),
            None => self.limits(&defined, (1.0 - options.level) / 2.0, options.method),
        };
        Ok(Estimate {
            value: self.observed,
            standard_error: standard_deviation(&defined),
            interval,
            undefined_resamples: self.resampled.len() - defined.len(),
        })
    }

    /// Why no method gives an interval.
    fn obstacle(&self, sorted: &[f64]) -> Option<NoInterval> {
        let resamples = self.resampled.len();
        let undefined = resamples - sorted.len();
        if self.observed.is_nan() {
            return Some(NoInterval::Undefined);
        }
        if self.jackknife.len() < 2 {
            return Some(NoInterval::OnePatient);
        }
        let (Some(lowest), Some(highest)) = (sorted.first(), sorted.last()) else {
            return Some(NoInterval::MostlyUndefined { undefined, resamples });
        };
        if undefined * 2 > resamples {
            return Some(NoInterval::MostlyUndefined { undefined, resamples });
        }
        // Sums in another order differ in their last bits.
        (highest - lowest <= self.observed.abs() * 1e-13).then_some(NoInterval::NoVariance)
    }
}

/// With n − 1, as SciPy's standard error.
fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return f64::NAN;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (squares / (values.len() - 1) as f64).sqrt()
}
