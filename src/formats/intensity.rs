//! How numbers of any type become grey levels.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use sonotune_base::Error;

/// How numbers become 8-bit grey levels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intensity {
    /// Truncate the fraction. Numbers beyond 0 to 255 are refused, and files whose numbers all are from 0
    /// to 1: their images would be black.
    #[default]
    Exact,
    /// Truncate the fraction and keep the lowest 8 bits: 300 becomes 44, like a cast in C or NumPy.
    Wrap,
    /// Round (halves to even) and clip to 0..=255.
    Clip,
    /// Stretch the range of all numbers of the file, smallest to largest, to 0..=255.
    Range,
    /// Stretch these two values to 0 and 255; values outside are clipped.
    Window([f64; 2]),
}

impl Intensity {
    /// Rejects a window without width.
    ///
    /// # Errors
    /// When `low < high` does not hold.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Window([low, high]) if !(low.is_finite() && high.is_finite() && low < high) => {
                Err(Error::config(format!(
                    "intensity: in the window [{low}, {high}] the first bound must be smaller than \
                     the second"
                ))
                .into())
            }
            _ => Ok(()),
        }
    }

    /// Whether [`Plane::to_pixels`](crate::elements::Plane::to_pixels) needs the range of the whole file.
    pub(super) fn needs_range(self) -> bool {
        matches!(self, Self::Range | Self::Exact)
    }

    /// Refuses a file whose numbers range from `low` to `high` if that would hide what it shows.
    pub(super) fn check_range(self, (low, high): (f64, f64)) -> Result<()> {
        if self != Self::Exact {
            return Ok(());
        }
        let what = if low <= -1.0 || high >= 256.0 {
            "not 0 to 255"
        } else if low >= 0.0 && high > 0.0 && high <= 1.0 {
            "so its images would be black"
        } else {
            return Ok(());
        };
        bail!(Error::data(format!(
            "its numbers range from {low} to {high}, {what}; the spec's `intensity` says how they become grey \
             levels, for example {}",
            Self::suggestion(low, high)
        )))
    }

    /// A window for numbers of this range, as a spec has it: 0 to 1, or what whole bits can hold, since the
    /// next file may use more of it.
    #[must_use]
    pub fn suggestion(low: f64, high: f64) -> String {
        let upper = match high {
            _ if low < 0.0 || high >= 65536.0 => high,
            _ if high <= 1.0 => 1.0,
            _ => (high + 1.0).log2().ceil().exp2() - 1.0,
        };
        format!("{{ window = [{}, {upper}] }}", low.min(0.0))
    }

    pub(super) fn apply(self, value: f64, range: (f64, f64)) -> u8 {
        let stretch = |low: f64, high: f64| {
            if high > low {
                ((value - low) / (high - low) * 255.0).round_ties_even() as u8
            } else {
                0
            }
        };
        match self {
            // `as` saturates from float to i64, NaN becomes 0; the second one wraps.
            Self::Wrap | Self::Exact => value as i64 as u8,
            Self::Clip => value.round_ties_even() as u8,
            Self::Range => stretch(range.0, range.1),
            Self::Window([low, high]) => stretch(low, high),
        }
    }
}
