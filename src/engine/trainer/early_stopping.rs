//! Ends a run that has stopped improving.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use sonotune_metrics::Direction;

/// The `[train.early_stopping]` table, on `evaluation.best_metric`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStoppingConfig {
    /// Evaluations in a row without improvement after which the run ends.
    pub patience: u64,
    /// An improvement must exceed this. An undefined metric (NaN) is not an improvement.
    #[serde(default)]
    pub min_delta: f64,
}

/// Its state; part of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// The value that the next one must improve on; absent until the first that is not NaN.
    pub best: Option<f64>,
    /// Evaluations in a row that did not improve on it.
    pub evaluations_without_improvement: u64,
}

impl EarlyStopping {
    /// Records the metric of an evaluation. NaN never counts as an improvement.
    pub fn observe(&mut self, config: &EarlyStoppingConfig, direction: Direction, value: f64) {
        let improves = !value.is_nan()
            && self.best.is_none_or(|best| match direction {
                Direction::Highest => value - config.min_delta > best,
                Direction::Lowest => value + config.min_delta < best,
            });
        if improves {
            *self = Self { best: Some(value), evaluations_without_improvement: 0 };
        } else {
            self.evaluations_without_improvement += 1;
        }
    }

    /// Whether the run ends here.
    #[must_use]
    pub fn is_due(&self, config: &EarlyStoppingConfig) -> bool {
        self.evaluations_without_improvement >= config.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(min_delta: f64, direction: Direction, values: &[f64]) -> Vec<u64> {
        let config = EarlyStoppingConfig { patience: 2, min_delta };
        let mut state = EarlyStopping::default();
        let observe = |value: &f64| {
            state.observe(&config, direction, *value);
            // As it goes through a checkpoint.
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            state.evaluations_without_improvement
        };
        values.iter().map(observe).collect()
    }

    #[test]
    fn an_improvement_is_more_than_min_delta() {
        let values = [0.5, 0.55, 0.59, 0.625, 0.625, 0.1];
        assert_eq!(counts(0.0, Direction::Highest, &values), [0, 0, 0, 0, 1, 2]);
        // Small steps add up: what counts is the last improvement, not the last value.
        assert_eq!(counts(0.1, Direction::Highest, &values), [0, 1, 2, 0, 1, 2]);
        assert_eq!(counts(0.1, Direction::Lowest, &[1.0, 0.95, 0.85, 0.9]), [0, 1, 0, 1]);
    }

    #[test]
    fn nan_is_no_improvement_and_never_the_mark() {
        let nan = f64::NAN;
        assert_eq!(counts(0.0, Direction::Highest, &[nan, nan, 0.1, nan, 0.2]), [1, 2, 0, 1, 0]);
    }

    #[test]
    fn it_is_due_when_patience_is_used_up() {
        let config = EarlyStoppingConfig { patience: 2, min_delta: 0.0 };
        for (evaluations_without_improvement, due) in [(0, false), (1, false), (2, true), (3, true)]
        {
            let state = EarlyStopping { best: None, evaluations_without_improvement };
            assert_eq!(state.is_due(&config), due);
        }
    }
}
