//! The `[train]` table.

use serde::{Deserialize, Serialize};

use super::EarlyStoppingConfig;
use crate::optim::EmaConfig;

/// `[train]`: the step loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps of the run.
    pub max_steps: u64,
    /// Batches whose gradients are averaged before one optimiser step.
    #[serde(default = "one")]
    pub accumulate_batches: u64,
    /// Largest 2-norm of all gradients together; absent: no clipping.
    pub clip_grad_norm: Option<f64>,
    /// Also writes the last checkpoint this often; it is always written at evaluations and the end.
    pub checkpoint_every_steps: Option<u64>,
    /// How many of the newest checkpoints are kept by step; 0: only the last.
    #[serde(default)]
    pub keep_checkpoints: u64,
    /// Absent: no average.
    pub ema: Option<EmaConfig>,
    /// Absent: the run makes all its steps.
    pub early_stopping: Option<EarlyStoppingConfig>,
    /// Trains even if no image of the training split has an object (or category) to learn from.
    #[serde(default)]
    pub allow_no_objects: bool,
    /// Trains a task that learns masks even if no object of a split has one: boxes stand in for them.
    #[serde(default)]
    pub allow_boxes_as_masks: bool,
}

fn one() -> u64 {
    1
}
