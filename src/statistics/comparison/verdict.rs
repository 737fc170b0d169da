//! What the data decide.

use sonotune_metrics::Direction;

use super::{Options, Pair};
use crate::{bootstrap::Estimate, paired::smallest_p};

/// The answer to "which is best?". Indices are those of the models.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// One model is better than every other.
    Best { model: usize },
    /// The model with the best figure is better than some; the data do not tell it from the `undecided`
    /// ones.
    BetterThan { model: usize, others: Vec<usize>, undecided: Vec<usize> },
    /// The model with the best figure is not better than any other as far as these data show.
    Undecided {
        model: usize,
        /// The model with the next best figure.
        next: usize,
        /// How far the two are apart.
        difference: f64,
        /// The smallest true difference between them that this many patients would show.
        detectable: f64,
        /// Patients needed to show a difference as large as the one between the two.
        patients_needed: Option<u64>,
        /// Whether the patients are so few that no data could give a p-value below 1 − level.
        hopeless: bool,
    },
    /// Fewer than two models have a figure, so there is nothing to compare.
    NothingToCompare,
}

impl Verdict {
    pub(super) fn new(
        estimates: &[Estimate],
        pairs: &[Pair],
        patients: usize,
        options: &Options,
    ) -> Self {
        let mut order: Vec<usize> =
            (0..estimates.len()).filter(|&model| !estimates[model].value.is_nan()).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (estimates[a].value, estimates[b].value);
            match options.direction {
                Direction::Highest => b.total_cmp(&a),
                Direction::Lowest => a.total_cmp(&b),
            }
        });
        let [model, next, ..] = order[..] else { return Self::NothingToCompare };
        let of = |other: usize| {
            let (first, second) = (model.min(other), model.max(other));
            pairs.iter().find(|pair| (pair.first, pair.second) == (first, second))
        };
        let wins = |other: &usize| of(*other).is_some_and(|pair| pair.better == Some(model));
        let (others, undecided): (Vec<usize>, Vec<usize>) =
            order[1..].iter().copied().partition(wins);
        if undecided.is_empty() {
            return Self::Best { model };
        }
        if !others.is_empty() {
            return Self::BetterThan { model, others, undecided };
        }
        let smallest = smallest_p(patients, &options.permutations) * pairs.len() as f64;
        Self::Undecided {
            model,
            next,
            difference: (estimates[model].value - estimates[next].value).abs(),
            detectable: of(next).map_or(f64::NAN, |pair| pair.detectable),
            patients_needed: of(next).and_then(|pair| pair.patients_needed),
            hopeless: smallest >= options.alpha(),
        }
    }

    /// The model that may be called best, which is none unless it is better than every other.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        match self {
            Self::Best { model } => Some(*model),
            _ => None,
        }
    }
}

/// The better of two models, if test and interval agree on it.
pub(super) fn better(pair: &Pair, options: &Options) -> Option<usize> {
    let interval = pair.difference.interval.ok()?;
    let found = pair.adjusted_p < options.alpha() && interval.excludes_zero();
    // Means over rows and over patients can differ in sign.
    if !found || (interval.low > 0.0) != (pair.permutation.difference > 0.0) {
        return None;
    }
    let first_is_larger = interval.low > 0.0;
    Some(match (options.direction, first_is_larger) {
        (Direction::Highest, true) | (Direction::Lowest, false) => pair.first,
        _ => pair.second,
    })
}
