//! The bootstrap over patients: how far a figure would move with other patients of the same kind.
//!
//! A resample draws as many patients as there are, with replacement, and takes all their rows. All
//! models are computed on the same resamples, so that differences and ranks follow from them
//! ([`Distribution::minus`]).

mod interval;
mod method;
mod resample;

pub use interval::{Estimate, Interval, NoInterval};
pub(crate) use method::quantile;
pub use method::{Correction, Method};
pub use resample::{Pick, means, patients_of, statistics};

use crate::error::{Error, Result, valid_level};

/// How to resample, and what interval to compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    pub seed: u64,
    /// 2,000 are enough for an interval of a statistic that is slow to compute.
    pub resamples: usize,
    /// Confidence in (0, 1).
    pub level: f64,
    pub method: Method,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, resamples: 10_000, level: 0.95, method: Method::default() }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        valid_level(self.level)?;
        // The tails of an interval hold (1 - level) / 2 of the resamples each.
        let needed = 2.0 / (1.0 - self.level);
        if (self.resamples as f64) < needed {
            return Err(Error::Option {
                key: "resamples",
                value: self.resamples as f64,
                expected: "at least 2 / (1 - level), and 2,000 or more for stable limits",
            });
        }
        Ok(())
    }
}

/// A figure of all patients, of every resample, and of all patients but one.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Of all rows.
    pub observed: f64,
    /// One value per resample; NaN if the figure is undefined there.
    pub resampled: Vec<f64>,
    /// One value per patient: the figure without this patient.
    pub jackknife: Vec<f64>,
    /// Standard errors, if the figure has a formula for them: means do.
    pub standard_errors: Option<StandardErrors>,
}

/// Standard errors of a mean over rows, linearised over patients (the ratio estimator's).
#[derive(Debug, Clone, PartialEq)]
pub struct StandardErrors {
    /// Of all rows.
    pub observed: f64,
    /// One per resample, computed from its rows alone.
    pub resampled: Vec<f64>,
}

impl Distribution {
    /// The distribution of the difference `self − other` of two models, resample by resample. It has no
    /// standard errors; for those, resample the differences of the rows.
    ///
    /// # Errors
    /// If the two do not come from the same draws of the same patients.
    pub fn minus(&self, other: &Self) -> Result<Self> {
        let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        crate::error::same_length("resamples", self.resampled.len(), other.resampled.len())?;
        crate::error::same_length("patients", self.jackknife.len(), other.jackknife.len())?;
        Ok(Self {
            observed: self.observed - other.observed,
            resampled: minus(&self.resampled, &other.resampled),
            jackknife: minus(&self.jackknife, &other.jackknife),
            standard_errors: None,
        })
    }
}
