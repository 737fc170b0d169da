//! The `[schedule]` table and the factor it defines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[schedule]` table: a factor on every group's learning rate, by step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// No change after the warm-up.
    Constant {
        /// Linear increase at the start.
        #[serde(default)]
        warmup: Warmup,
    },
    /// Multiplied by `gamma` at each milestone.
    MultiStep {
        /// Steps, ascending, at each of which the factor is multiplied by `gamma`.
        milestones: Vec<u64>,
        /// That factor.
        #[serde(default = "tenth")]
        gamma: f64,
        /// Linear increase at the start.
        #[serde(default)]
        warmup: Warmup,
    },
    /// Half a cosine from 1 to `end_factor` at the last step.
    Cosine {
        /// The factor follows half a cosine from 1 to this at the end of the run.
        #[serde(default)]
        end_factor: f64,
        /// Linear increase at the start.
        #[serde(default)]
        warmup: Warmup,
    },
    /// `(1 − progress)^power`, down to `end_factor`.
    Poly {
        /// Exponent of (1 − progress); 1 is a straight line.
        #[serde(default = "one")]
        power: f64,
        /// Factor at the last step.
        #[serde(default)]
        end_factor: f64,
        /// Linear increase at the start.
        #[serde(default)]
        warmup: Warmup,
    },
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self::Constant { warmup: Warmup::default() }
    }
}

fn tenth() -> f64 {
    0.1
}

/// Linear warm-up of the factor at the start, multiplied by the schedule's own factor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Steps of linear increase at the start.
    #[serde(default)]
    pub steps: u64,
    /// Factor at the first step.
    #[serde(default = "thousandth")]
    pub start_factor: f64,
}

impl Default for Warmup {
    fn default() -> Self {
        Self { steps: 0, start_factor: thousandth() }
    }
}

fn thousandth() -> f64 {
    1e-3
}

fn one() -> f64 {
    1.0
}

impl ScheduleConfig {
    /// The factor on the learning rate of optimiser step `step` (from 0) in a run of
    /// `max_steps`, as mmengine's iteration-based schedulers compute it in closed form: a milestone
    /// takes effect at the step of its number; a warm-up of `n` steps reaches 1 at step `n − 1`; poly
    /// reaches its end at the last step, cosine would one step later.
    #[must_use]
    pub fn factor(&self, step: u64, max_steps: u64) -> f64 {
        let (decay, warmup) = match self {
            Self::Constant { warmup } => (1.0, warmup),
            Self::MultiStep { milestones, gamma, warmup } => {
                let passed = milestones.iter().filter(|&&m| step >= m).count();
                (gamma.powi(passed as i32), warmup)
            }
            Self::Cosine { end_factor, warmup } => {
                let progress = (step as f64 / max_steps.max(1) as f64).min(1.0);
                let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
                (end_factor + (1.0 - end_factor) * cosine, warmup)
            }
            Self::Poly { power, end_factor, warmup } => {
                let last = max_steps.saturating_sub(1).max(1);
                let left = 1.0 - (step as f64 / last as f64).min(1.0);
                (end_factor + (1.0 - end_factor) * left.powf(*power), warmup)
            }
        };
        decay * warmup.factor(step)
    }
}

impl Warmup {
    fn factor(&self, step: u64) -> f64 {
        if step + 1 >= self.steps {
            return 1.0;
        }
        let progress = step as f64 / (self.steps - 1) as f64;
        self.start_factor + (1.0 - self.start_factor) * progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: &ScheduleConfig, max_steps: u64) -> Vec<f64> {
        (0..max_steps).map(|step| schedule.factor(step, max_steps)).collect()
    }

    fn assert_close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 1e-6, "{got:?} instead of {expected:?}");
        }
    }

    // The expected numbers are the learning rates of mmengine 0.10's LinearLR + MultiStepLR,
    // CosineAnnealingLR and PolyLR (by_epoch=False) on a base rate of 1.

    #[test]
    fn multi_step_with_warmup_as_mmengine() {
        let schedule = ScheduleConfig::MultiStep {
            milestones: vec![8, 10],
            gamma: 0.1,
            warmup: Warmup { steps: 5, start_factor: 1e-3 },
        };
        let expected = [0.001, 0.25075, 0.5005, 0.75025, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01];
        assert_close(&factors(&schedule, 12), &expected);
    }

    #[test]
    fn cosine_and_poly_as_mmengine() {
        let cosine = ScheduleConfig::Cosine { end_factor: 0.1, warmup: Warmup::default() };
        let expected = [
            1.0, 0.977975, 0.914058, 0.814503, 0.689058, 0.55, 0.410942, 0.285497, 0.185942,
            0.122025,
        ];
        assert_close(&factors(&cosine, 10), &expected);
        let poly = ScheduleConfig::Poly { power: 0.9, end_factor: 0.0, warmup: Warmup::default() };
        let expected = [
            1.0, 0.89942, 0.797572, 0.694253, 0.589189, 0.481987, 0.372041, 0.258291, 0.138415, 0.0,
        ];
        assert_close(&factors(&poly, 10), &expected);
    }

    #[test]
    fn one_step_runs_have_no_division_by_zero() {
        for schedule in [
            ScheduleConfig::Constant { warmup: Warmup { steps: 1, start_factor: 0.1 } },
            ScheduleConfig::Cosine { end_factor: 0.0, warmup: Warmup::default() },
            ScheduleConfig::Poly { power: 1.0, end_factor: 0.0, warmup: Warmup::default() },
        ] {
            assert_eq!(factors(&schedule, 1), [1.0]);
        }
    }
}
