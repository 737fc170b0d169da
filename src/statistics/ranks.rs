//! Who comes first, and how often in other samples of patients.

use sonotune_metrics::Direction;

use crate::{
    bootstrap::Distribution,
    error::{Error, Result, same_length},
};

/// Ranks of models, from 1 for the best, and what becomes of them over resamples.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranks {
    /// Of all patients; equal models share the mean of their ranks.
    pub observed: Vec<f64>,
    /// Mean over resamples.
    pub mean: Vec<f64>,
    /// `[model][rank − 1]`: share of resamples in which the model has this rank. Equal models share
    /// the ranks they have together.
    pub shares: Vec<Vec<f64>>,
    /// Resamples left out because a model's figure is undefined in them.
    pub undefined_resamples: usize,
}

impl Ranks {
    /// Ranks of models whose distributions come from the same draws. NaN everywhere if no resample is
    /// defined for all.
    ///
    /// # Errors
    /// If there are no models, or the numbers of their resamples differ.
    pub fn new(models: &[Distribution], direction: Direction) -> Result<Self> {
        let Some(first) = models.first() else {
            return Err(Error::Empty { what: "models" });
        };
        for model in models {
            same_length("resamples", first.resampled.len(), model.resampled.len())?;
        }
        let count = models.len();
        let (mut mean, mut shares) = (vec![0.0; count], vec![vec![0.0; count]; count]);
        let mut used = 0;
        for resample in 0..first.resampled.len() {
            let values: Vec<f64> = models.iter().map(|model| model.resampled[resample]).collect();
            if values.iter().any(|value| value.is_nan()) {
                continue;
            }
            used += 1;
            for group in groups(&values, direction) {
                let (rank, share) = (group.rank(), 1.0 / group.models.len() as f64);
                for &model in &group.models {
                    mean[model] += rank;
                    shares[model][group.start..][..group.models.len()]
                        .iter_mut()
                        .for_each(|sum| *sum += share);
                }
            }
        }
        let average = |sum: &mut f64| *sum /= used as f64;
        mean.iter_mut().for_each(average);
        shares.iter_mut().flatten().for_each(average);
        let figures: Vec<f64> = models.iter().map(|model| model.observed).collect();
        let undefined_resamples = first.resampled.len() - used;
        Ok(Self { observed: ranks(&figures, direction), mean, shares, undefined_resamples })
    }

    /// Share of resamples in which the model comes first.
    #[must_use]
    pub fn first(&self, model: usize) -> f64 {
        self.shares[model][0]
    }
}

/// Rank of each value, from 1 for the best; equal values share the mean of their ranks. An undefined
/// value has no rank (NaN).
#[must_use]
pub fn ranks(values: &[f64], direction: Direction) -> Vec<f64> {
    let mut ranks = vec![f64::NAN; values.len()];
    for group in groups(values, direction) {
        for &model in &group.models {
            ranks[model] = group.rank();
        }
    }
    ranks
}

/// Models with the same value.
struct Group {
    /// Models before them.
    start: usize,
    models: Vec<usize>,
}

impl Group {
    fn rank(&self) -> f64 {
        self.start as f64 + (self.models.len() as f64 + 1.0) / 2.0
    }
}

/// The defined values, from the best on.
fn groups(values: &[f64], direction: Direction) -> Vec<Group> {
    let mut order: Vec<usize> = (0..values.len()).filter(|&i| !values[i].is_nan()).collect();
    order.sort_by(|&a, &b| match direction {
        Direction::Highest => values[b].total_cmp(&values[a]),
        Direction::Lowest => values[a].total_cmp(&values[b]),
    });
    let mut start = 0;
    let equal = order.chunk_by(|&a, &b| values[a] == values[b]);
    equal
        .map(|models| {
            start += models.len();
            Group { start: start - models.len(), models: models.to_vec() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(observed: f64, resampled: &[f64]) -> Distribution {
        Distribution {
            observed,
            resampled: resampled.to_vec(),
            jackknife: Vec::new(),
            standard_errors: None,
        }
    }

    #[test]
    fn shares_of_ranks_by_hand() {
        let models = [
            model(0.8, &[0.9, 0.5, 0.7, 0.1]),
            model(0.7, &[0.8, 0.5, 0.8, f64::NAN]),
            model(0.7, &[0.1, 0.1, 0.9, 0.1]),
        ];
        let ranks = Ranks::new(&models, Direction::Highest).unwrap();
        assert_eq!(ranks.observed, [1.0, 2.5, 2.5]);
        assert_eq!(ranks.undefined_resamples, 1);
        // Ranks 1, 1.5, 3; 2, 1.5, 2; 3, 3, 1.
        let thirds = |sum: f64| sum / 3.0;
        assert_eq!(ranks.mean, [5.5, 5.5, 7.0].map(thirds));
        assert_eq!(ranks.shares[0], [1.5, 0.5, 1.0].map(thirds));
        assert_eq!(ranks.first(1), thirds(0.5));
        let lowest = Ranks::new(&models, Direction::Lowest).unwrap();
        assert_eq!(lowest.first(2), thirds(2.0));
        for at in 0..3 {
            let sum: f64 = ranks.shares.iter().map(|shares| shares[at]).sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn what_is_undefined_has_no_rank() {
        let got = ranks(&[0.5, f64::NAN, 0.7], Direction::Lowest);
        assert!(got[0] == 1.0 && got[1].is_nan() && got[2] == 2.0);
        assert!(Ranks::new(&[], Direction::Highest).is_err());
        let uneven = [model(1.0, &[1.0]), model(1.0, &[])];
        assert!(Ranks::new(&uneven, Direction::Highest).is_err());
    }
}
