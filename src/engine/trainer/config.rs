//! The `[train]` table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EarlyStoppingConfig;
use crate::optim::EmaConfig;

/// `[train]`: the step loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps of the run.
    pub max_steps: u64,
    /// Batches whose gradients are averaged before one optimiser step.
    #[serde(default = "one")]
    pub accumulate_batches: u64,
    /// Maximum 2-norm of all gradients together.
    pub clip_grad_norm: Option<f64>,
    /// Also writes the last checkpoint this often; it is always written at evaluations and at the end.
    pub checkpoint_every_steps: Option<u64>,
    /// How many of the newest checkpoints are kept as `checkpoints/step-00001000.safetensors`; 0: only the last.
    /// The newest takes no extra space (it is a hard link of the last). Continue from one with `sonotune train
    /// --resume RUN --checkpoint 1000`; `eval` and `predict` accept it as `--checkpoint 1000`.
    #[serde(default)]
    pub keep_checkpoints: u64,
    /// A moving average of the trained weights, which evaluation and the best checkpoint use.
    pub ema: Option<EmaConfig>,
    /// Ends a run that stops improving.
    pub early_stopping: Option<EarlyStoppingConfig>,
    /// Trains even if no image of the training split has an object (for classification, a category). Otherwise
    /// that is an error: there is nothing to learn.
    #[serde(default)]
    pub allow_no_objects: bool,
    /// Trains a task that learns masks (`sam_prompt`, `mask2former`) even if no object of a split has one. Each
    /// box then counts as a mask, and scores of masks are left out. Otherwise that is an error. If only some
    /// objects lack a mask, their boxes count as masks, and a note says how many.
    #[serde(default)]
    pub allow_boxes_as_masks: bool,
}

fn one() -> u64 {
    1
}
