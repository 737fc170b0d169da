//! The `[task]` table of `type = "classification"`.

use std::collections::BTreeMap;

use sonotune_engine::prelude::*;

/// Options of image classification.
///
/// ```toml
/// [task]
/// type = "classification"
/// loss = { type = "softmax_focal", gamma = 2.0 }
/// class_weights = { malignant = 3.0 }     # the others weigh 1
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct ClassificationConfig {
    /// The loss; decides whether scores are sigmoids or a softmax.
    pub loss: LossConfig,
    /// How much an image of a category counts, by name: `{ malignant = 3.0 }`, the others 1. With `multi_label`:
    /// how much a positive counts against its category's negatives.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub class_weights: BTreeMap<String, f64>,
    /// Any number of categories per image, instead of exactly one.
    pub multi_label: bool,
    /// With `multi_label`: a category is predicted if its score is at least this. If absent, 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// The loss, which also determines the meaning of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    crate = "sonotune_engine::serde",
    tag = "type",
    rename_all = "snake_case",
    deny_unknown_fields
)]
#[schemars(crate = "sonotune_engine::schemars")]
pub enum LossConfig {
    /// Each category separately: binary cross-entropy on sigmoids, easy cases scaled down (Lin et al.
    /// 2017). Sum over categories, mean over images.
    SigmoidFocal {
        /// Exponent of the scaling; 0: none.
        #[serde(default = "two")]
        gamma: f64,
        /// Weight of positives; negatives have `1 − alpha`.
        #[serde(default = "quarter")]
        alpha: f64,
    },
    /// Each category separately, without scaling. Sum over categories, mean over images.
    BinaryCrossEntropy {},
    /// One category among all: cross-entropy on a softmax, easy images scaled down.
    SoftmaxFocal {
        /// Exponent of the scaling; 0: none.
        #[serde(default = "two")]
        gamma: f64,
    },
    /// Softmax cross entropy over all categories, unscaled.
    CrossEntropy {
        /// Share of the target that is distributed over all categories.
        #[serde(default)]
        label_smoothing: f64,
    },
}

impl Default for LossConfig {
    /// The reference's loss.
    fn default() -> Self {
        Self::SigmoidFocal { gamma: two(), alpha: quarter() }
    }
}

fn two() -> f64 {
    2.0
}

fn quarter() -> f64 {
    0.25
}

impl LossConfig {
    /// Whether scores are mutually exclusive and sum to 1.
    #[must_use]
    pub fn is_softmax(&self) -> bool {
        matches!(self, Self::SoftmaxFocal { .. } | Self::CrossEntropy { .. })
    }
}

impl ClassificationConfig {
    /// With `multi_label`: the minimum score of a predicted category.
    pub(crate) fn decides_from(&self) -> Option<f64> {
        self.multi_label.then(|| self.threshold.unwrap_or(0.5))
    }

    /// Ranges, and options that contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        let in_range = |key: &str, expected: &str, got: f64, fits: bool| {
            if fits && got.is_finite() {
                return Ok(());
            }
            Err(Error::config(format!("`task.{key}`: expected {expected}, got {got:?}")))
        };
        match self.loss {
            LossConfig::SigmoidFocal { gamma, alpha } => {
                in_range("loss.gamma", "a number of at least 0", gamma, gamma >= 0.0)?;
                in_range(
                    "loss.alpha",
                    "a number from 0 to 1",
                    alpha,
                    (0.0..=1.0).contains(&alpha),
                )?;
            }
            LossConfig::SoftmaxFocal { gamma } => {
                in_range("loss.gamma", "a number of at least 0", gamma, gamma >= 0.0)?;
            }
            LossConfig::CrossEntropy { label_smoothing: share } => {
                let fits = (0.0..1.0).contains(&share);
                in_range("loss.label_smoothing", "a number from 0 to below 1", share, fits)?;
            }
            LossConfig::BinaryCrossEntropy {} => {}
        }
        for (name, &weight) in &self.class_weights {
            let key = format!("class_weights.{name}");
            in_range(&key, "a number above 0", weight, weight > 0.0)?;
        }
        if self.multi_label && self.loss.is_softmax() {
            return Err(Error::config(
                "`task.loss`: a softmax picks one category, but `task.multi_label` asks for any \
                 number; use \"sigmoid_focal\" or \"binary_cross_entropy\"",
            )
            .into());
        }
        match self.threshold {
            Some(_) if !self.multi_label => Err(Error::config(
                "`task.threshold` has no effect without `task.multi_label = true`: the category of \
                 the highest score is predicted",
            )
            .into()),
            Some(t) => {
                Ok(in_range("threshold", "a number from 0 to 1", t, (0.0..=1.0).contains(&t))?)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn check_categories(&self, categories: &[Category]) -> Result<()> {
        let least = if self.multi_label { 1 } else { 2 };
        if categories.len() >= least {
            return Ok(());
        }
        let names: Vec<&str> = categories.iter().map(|c| c.name.as_str()).collect();
        Err(Error::data(format!(
            "classification needs at least {least} categories, the training annotations have {}{}; \
             name the others in the annotation file, even if no image shows them",
            names.len(),
            if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
        ))
        .into())
    }

    /// `[K]` f64, or `None` if all weights are equal.
    pub(crate) fn weights_tensor(&self, categories: &[Category]) -> Result<Option<Tensor>> {
        if self.class_weights.is_empty() {
            return Ok(None);
        }
        for name in self.class_weights.keys() {
            if categories.iter().all(|c| c.name != *name) {
                let known: Vec<&str> = categories.iter().map(|c| c.name.as_str()).collect();
                return Err(Error::config(format!(
                    "`task.class_weights.{name}`: no such category; there are: {}",
                    known.join(", ")
                ))
                .into());
            }
        }
        let weight = |c: &Category| self.class_weights.get(&c.name).copied().unwrap_or(1.0);
        let weights: Vec<f64> = categories.iter().map(weight).collect();
        Ok(Some(Tensor::from_slice(&weights)))
    }
}
