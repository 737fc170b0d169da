//! An exponential moving average of the weights.

use std::collections::HashMap;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use sonotune_base::Error;

/// The `[train.ema]` table: average the weights over the steps, and score and keep the average.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// The share of the average that is kept at each step: `average = decay · average + (1 − decay) · weights`.
    /// `1 − decay` is mmengine's `momentum`. The first step copies the weights.
    #[serde(default = "default_decay")]
    pub decay: f64,
    /// Begins with a smaller decay: after `t` updates `1 − (1 + t/gamma)^−power`, up to `decay`, as timm's
    /// `ModelEmaV3` with `use_warmup`. Short runs need it: 0.9998 averages over about 5000 steps.
    pub warmup: Option<EmaWarmup>,
}

/// `[train.ema.warmup]`: after `t` updates the decay is `1 − (1 + t/gamma)^−power`, up to `decay`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmaWarmup {
    /// Updates over which the decay begins to rise: `gamma` in the formula of `train.ema.warmup`.
    pub gamma: f64,
    /// 2/3 for long runs (0.999 after 31,600 steps), 3/4 for shorter ones (after 10,000).
    pub power: f64,
}

impl Default for EmaWarmup {
    /// The values of timm's `ModelEmaV3`.
    fn default() -> Self {
        Self { gamma: 1.0, power: 2.0 / 3.0 }
    }
}

/// mmengine's default, whose momentum is 0.0002.
fn default_decay() -> f64 {
    0.9998
}

impl EmaConfig {
    /// The decay of the update after `updates` earlier ones. For the first it is 0: the average
    /// starts with the weights after one step, as in timm and mmengine.
    #[must_use]
    pub(crate) fn decay_after(&self, updates: u64) -> f64 {
        if updates == 0 {
            return 0.0;
        }
        let Some(EmaWarmup { gamma, power }) = self.warmup else { return self.decay };
        let warming = 1.0 - (1.0 + updates as f64 / gamma).powf(-power);
        warming.min(self.decay)
    }
}

/// The average of the trained variables.
///
/// What is not trained has no average: frozen variables and buffers (statistics of batch
/// normalisation) are the model's, as in mmengine's `EMAHook` with `update_buffers=False`.
#[derive(Debug)]
pub struct Ema {
    config: EmaConfig,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    /// In the order of `parameters`.
    averages: Vec<Tensor>,
}

impl Ema {
    /// An average of `variables` that starts with their current values.
    #[must_use]
    pub fn new(config: &EmaConfig, variables: Vec<(String, Tensor)>) -> Self {
        let (names, parameters): (Vec<_>, Vec<_>) = variables.into_iter().unzip();
        let averages = parameters.iter().map(|p| p.detach().copy()).collect();
        Self { config: config.clone(), names, parameters, averages }
    }

    /// Updates the average with the weights after optimiser step `step` (from 0). One fused operation
    /// per device; a step that the optimiser skipped adds the unchanged weights, never a value that
    /// is not finite.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub fn update(&mut self, step: u64) -> Result<()> {
        let weight = 1.0 - self.config.decay_after(step);
        Ok(sonotune_shim::lerp(&self.averages, &self.parameters, weight)?)
    }

    /// Returns the result of `work` with the average in place of the weights, which are then restored
    /// bit for bit. Needs memory for one more copy of the largest variable.
    ///
    /// # Errors
    /// Propagates errors of `work` and from libtorch.
    pub fn with_average<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.swap()?;
        let result = work();
        self.swap()?;
        result
    }

    /// Exchanges values, not tensors: any view of a variable sees it change.
    fn swap(&mut self) -> Result<()> {
        no_grad(|| {
            for (parameter, average) in self.parameters.iter_mut().zip(&mut self.averages) {
                let kept = parameter.f_detach()?.copy();
                parameter.f_copy_(average)?;
                average.f_copy_(&kept)?;
            }
            Ok(())
        })
    }

    /// The average of each variable, by name.
    #[must_use]
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let averages = self.averages.iter().map(Tensor::shallow_clone);
        self.names.iter().cloned().zip(averages).collect()
    }

    /// Restores what [`state`](Self::state) returned.
    ///
    /// # Errors
    /// When the variables are not the same; names the first difference.
    pub(crate) fn load_state(&mut self, mut state: HashMap<String, Tensor>) -> Result<()> {
        for (name, average) in self.names.iter().zip(&mut self.averages) {
            let value = state.remove(name).ok_or_else(|| {
                Error::weights(format!(
                    "the checkpoint has no moving average of `{name}`: it was written without \
                     [train.ema], or with other variables frozen"
                ))
            })?;
            if value.size() != average.size() {
                return Err(Error::weights(format!(
                    "the moving average of `{name}` has shape {:?}, the model needs {:?}",
                    value.size(),
                    average.size()
                ))
                .into());
            }
            no_grad(|| average.f_copy_(&value))?;
        }
        match state.keys().min() {
            None => Ok(()),
            Some(name) => Err(Error::weights(format!(
                "the checkpoint holds a moving average of `{name}`, which this run does not train"
            ))
            .into()),
        }
    }
}

#[cfg(test)]
#[path = "ema_tests.rs"]
mod tests;
