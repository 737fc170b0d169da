//! How an interval follows from resamples.

use super::{Distribution, Interval, NoInterval};
use crate::probability::{normal_below, normal_quantile, t_quantile};

/// How an interval follows from the resamples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// The quantiles of the resamples (Efron). Too short with few patients: it takes the spread of n
    /// patients for that of the population, and normal tails for those of Student's t.
    Percentile,
    /// Bias-corrected and accelerated (Efron 1987): follows the skew, but is equally short.
    Bca,
    /// The percentile interval at a level that makes up for both: quantiles at
    /// Φ(√(n / (n − 1)) · t(α / 2, n − 1)) instead of α / 2 (Hesterberg 2015, section 3.2).
    ExpandedPercentile,
    /// BCa at the same level.
    ExpandedBca,
    /// Bootstrap-t (Efron and Tibshirani 1993, chapter 12): quantiles of (resample − figure) / standard
    /// error of the resample. The only one that covers as it should for skewed scores of 30 patients.
    /// [`Method::ExpandedBca`] takes its place if the figure has no formula for its standard error, or
    /// if that is 0 in more than one of 100 resamples, as with a model that is nearly always right.
    #[default]
    Studentized,
}

/// Share of resamples without variance up to which bootstrap-t leaves them out.
const WITHOUT_VARIANCE: f64 = 0.01;

impl Method {
    /// Its name in a sentence: `the … bootstrap`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Percentile => "percentile",
            Self::Bca => "BCa",
            Self::ExpandedPercentile => "expanded percentile",
            Self::ExpandedBca => "expanded BCa",
            Self::Studentized => "studentised",
        }
    }
}

impl Distribution {
    /// `sorted` are the resamples in which the figure is defined; `tail` is the share outside each limit.
    pub(super) fn limits(
        &self,
        sorted: &[f64],
        tail: f64,
        method: Method,
    ) -> Result<Interval, NoInterval> {
        let at = |[low, high]: [f64; 2]| Interval {
            low: quantile(sorted, low),
            high: quantile(sorted, high),
            method,
        };
        let wide = || expanded(tail, self.jackknife.len());
        match method {
            Method::Percentile => Ok(at([tail, 1.0 - tail])),
            Method::Bca => Ok(at(self.correction(sorted)?.shares(tail))),
            Method::ExpandedPercentile => Ok(at([wide(), 1.0 - wide()])),
            Method::ExpandedBca => Ok(at(self.correction(sorted)?.shares(wide()))),
            Method::Studentized => match self.studentized(tail) {
                Some([low, high]) => Ok(Interval { low, high, method }),
                None => self.limits(sorted, tail, Method::ExpandedBca),
            },
        }
    }

    fn studentized(&self, tail: f64) -> Option<[f64; 2]> {
        let errors = self.standard_errors.as_ref()?;
        // Rows that are all equal leave a rounding error.
        let least = errors.observed * 1e-9;
        let defined =
            self.resampled.iter().zip(&errors.resampled).filter(|(value, _)| !value.is_nan());
        let count = defined.clone().count();
        let mut ratios: Vec<f64> = defined
            .filter(|(_, error)| **error > least)
            .map(|(value, error)| (value - self.observed) / error)
            .collect();
        let without = (count - ratios.len()) as f64;
        if ratios.is_empty() || without > WITHOUT_VARIANCE * count as f64 {
            return None;
        }
        ratios.sort_by(f64::total_cmp);
        // The upper tail of the ratios is the lower limit.
        let limit = |share: f64| self.observed - quantile(&ratios, share) * errors.observed;
        Some([limit(1.0 - tail), limit(tail)])
    }

    /// What BCa corrects, from the resamples in which the figure is defined.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn correction(&self, resampled: &[f64]) -> Result<Correction, NoInterval> {
        if self.jackknife.iter().any(|value| value.is_nan()) {
            return Err(NoInterval::NoJackknife);
        }
        let share = |is: fn(f64, f64) -> bool| {
            let count = resampled.iter().filter(|value| is(**value, self.observed)).count();
            count as f64 / resampled.len() as f64
        };
        // Equal values count half, as in SciPy.
        let bias = normal_quantile(f64::midpoint(share(|a, b| a < b), share(|a, b| a <= b)));
        if !bias.is_finite() {
            return Err(NoInterval::OutsideResamples);
        }
        let patients = self.jackknife.len() as f64;
        let mean = self.jackknife.iter().sum::<f64>() / patients;
        let power = |k: i32| self.jackknife.iter().map(|v| (mean - v).powi(k)).sum::<f64>();
        let acceleration = power(3) / (6.0 * power(2).powf(1.5));
        if acceleration.is_nan() {
            return Err(NoInterval::NoJackknife);
        }
        Ok(Correction { bias, acceleration })
    }
}

/// BCa's two constants (Efron 1987).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// z₀: how far the figure is from the median of the resamples, in standard deviations.
    pub bias: f64,
    /// a: how fast the standard error changes with the figure, from leaving out each patient.
    pub acceleration: f64,
}

impl Correction {
    /// Shares of the resamples below the two limits.
    fn shares(&self, tail: f64) -> [f64; 2] {
        let Self { bias, acceleration } = *self;
        [tail, 1.0 - tail].map(|share| {
            let moved = bias + normal_quantile(share);
            normal_below(bias + moved / (1.0 - acceleration * moved))
        })
    }
}

/// The share of each tail that makes a percentile interval as long as Student's t one.
fn expanded(tail: f64, patients: usize) -> f64 {
    let n = patients as f64;
    normal_below((n / (n - 1.0)).sqrt() * t_quantile(tail, n - 1.0))
}

/// Same as `numpy.quantile` of sorted values.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share.clamp(0.0, 1.0);
    let (below, fraction) = (place.floor() as usize, place.fract());
    let low = sorted[below];
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    low + (high - low) * fraction
}
