//! The `[optimizer]` table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[optimizer]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The algorithm.
    #[serde(rename = "type", default)]
    pub algorithm: Algorithm,
    /// Base learning rate.
    #[serde(default = "default_lr")]
    pub lr: f64,
    /// On every variable, unless a group says otherwise.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// Used by AdamW only.
    #[serde(default = "default_betas")]
    pub betas: (f64, f64),
    /// Used by AdamW only.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Used by SGD only.
    #[serde(default = "default_momentum")]
    pub momentum: f64,
    /// Used by SGD only.
    #[serde(default)]
    pub nesterov: bool,
    /// Tables `[[optimizer.groups]]`, in order: the first pattern that matches a variable's name wins. A pattern
    /// that matches none is an error.
    #[serde(default)]
    pub groups: Vec<GroupConfig>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            lr: default_lr(),
            weight_decay: default_weight_decay(),
            betas: default_betas(),
            eps: default_eps(),
            momentum: default_momentum(),
            nesterov: false,
            groups: Vec::new(),
        }
    }
}

fn default_lr() -> f64 {
    1e-4
}
fn default_weight_decay() -> f64 {
    1e-4
}
fn default_betas() -> (f64, f64) {
    (0.9, 0.999)
}
fn default_eps() -> f64 {
    1e-8
}
fn default_momentum() -> f64 {
    0.9
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    #[default]
    AdamW,
    Sgd,
}

/// One `[[optimizer.groups]]` entry. A pattern that matches no trainable variable is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// One word; appears in the log as `lr/<name>`.
    pub name: String,
    /// Variable names; `*` matches any run of characters.
    pub pattern: String,
    /// Factor on the learning rate.
    #[serde(default = "unit")]
    pub lr_multiplier: f64,
    /// Factor on the weight decay.
    #[serde(default = "unit")]
    pub weight_decay_multiplier: f64,
    /// Keeps these variables as they are.
    #[serde(default)]
    pub freeze: bool,
}

fn unit() -> f64 {
    1.0
}
