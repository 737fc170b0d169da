//! A list of numbers, summarised in six.

use std::fmt;

use serde::Serialize;

/// Quantiles and mean of a list.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    pub min: f64,
    pub first_quartile: f64,
    pub median: f64,
    pub third_quartile: f64,
    pub max: f64,
    pub mean: f64,
}

impl Distribution {
    /// Summarises `values`, in any order; quantiles between two values are interpolated. `None` if
    /// there are none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let quantile = |share: f64| {
            let at = share * (values.len() - 1) as f64;
            let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
            below + (above - below) * at.fract()
        };
        Some(Self {
            min,
            first_quartile: quantile(0.25),
            median: quantile(0.5),
            third_quartile: quantile(0.75),
            max,
            mean: values.iter().sum::<f64>() / values.len() as f64,
        })
    }
}

impl fmt::Display for Distribution {
    /// `12 to 80, median 33`; a format precision applies to each number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        if self.min == self.max {
            return write!(f, "{:.digits$} throughout", self.min);
        }
        let Self { min, median, max, .. } = self;
        write!(f, "{min:.digits$} to {max:.digits$}, median {median:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_five_and_of_two_by_hand() {
        let five = Distribution::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        let expected = Distribution {
            min: 1.0,
            first_quartile: 2.0,
            median: 3.0,
            third_quartile: 4.0,
            max: 5.0,
            mean: 3.0,
        };
        assert_eq!(five, expected);
        let two = Distribution::of(vec![1.0, 2.0]).unwrap();
        assert_eq!((two.first_quartile, two.median), (1.25, 1.5));
        assert_eq!(format!("{two:.1}"), "1.0 to 2.0, median 1.5");
        assert_eq!(Distribution::of(vec![7.0, 7.0]).unwrap().to_string(), "7 throughout");
        assert_eq!(Distribution::of(vec![]), None);
    }
}
