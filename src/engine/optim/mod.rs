//! Optimisers, parameter groups, schedules, clipping.

use serde::{Deserialize, Serialize};

/// The `[optimizer]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Algorithm.
    #[serde(rename = "type", default)]
    pub algorithm: Algorithm,
    /// Base learning rate.
    #[serde(default = "default_lr")]
    pub lr: f64,
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// AdamW's.
    #[serde(default = "default_betas")]
    pub betas: (f64, f64),
    /// AdamW's.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// SGD's.
    #[serde(default = "default_momentum")]
    pub momentum: f64,
    /// SGD's.
    #[serde(default)]
    pub nesterov: bool,
    /// Ordered; the first pattern that matches a variable's name wins.
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

/// Which update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    #[default]
    AdamW,
    Sgd,
}

/// One `[[optimizer.groups]]` entry. A pattern that matches no trainable variable is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Appears in the log as `lr/<name>`.
    pub name: String,
    /// Variable names; `*` matches any run of characters.
    pub pattern: String,
    #[serde(default = "unit")]
    pub lr_multiplier: f64,
    #[serde(default = "unit")]
    pub weight_decay_multiplier: f64,
    /// Keeps these variables as they are: no gradient, no update.
    #[serde(default)]
    pub freeze: bool,
}

fn unit() -> f64 {
    1.0
}

/// The `[schedule]` table: a factor on every group's learning rate, by step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ScheduleConfig {
    Constant {
        #[serde(default)]
        warmup: Warmup,
    },
    /// Multiplied by `gamma` at each milestone.
    MultiStep {
        milestones: Vec<u64>,
        #[serde(default = "tenth")]
        gamma: f64,
        #[serde(default)]
        warmup: Warmup,
    },
    /// Half a cosine from 1 to `end_factor` at the last step.
    Cosine {
        #[serde(default)]
        end_factor: f64,
        #[serde(default)]
        warmup: Warmup,
    },
    /// `(1 − progress)^power`, down to `end_factor`.
    Poly {
        #[serde(default = "unit")]
        power: f64,
        #[serde(default)]
        end_factor: f64,
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

/// Linear rise of the factor at the start, multiplied with the schedule's own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    #[serde(default)]
    pub steps: u64,
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
