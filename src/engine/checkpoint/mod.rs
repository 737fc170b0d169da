//! Saving a run and resuming it.
//!
//! A checkpoint is one `.safetensors` file: the model's variables under their own names, the
//! optimiser's state under `optimizer.`, the moving average of the weights under `ema.`, and
//! [`Progress`] as JSON in the header. One file is written under a temporary name and renamed, so
//! that there is a whole checkpoint at any moment. Everything else a resume needs is a function of
//! (seed, step).
//!
//! [`Writer`] writes during training, [`load_model`] and [`resume`] read, [`kept`] keeps the
//! newest few.

pub mod kept;
mod restore;
mod snapshot;
mod writer;

use serde::{Deserialize, Deserializer, Serialize};

use crate::trainer::EarlyStopping;
use sonotune_base::Category;

pub use restore::{Restored, load_model, read_progress, resume};
pub use snapshot::save_tensors;
pub use snapshot::{Snapshot, State};
pub use writer::Writer;

pub use sonotune_run_folder::{BEST, LAST};

/// Prefix of the optimiser's tensors.
pub(crate) const OPTIMIZER_PREFIX: &str = "optimizer.";
/// Prefix of the moving averages of the weights.
pub(crate) const EMA_PREFIX: &str = "ema.";
const HEADER_KEY: &str = "sonotune";

/// How far a run has come, and what its model predicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimiser steps done.
    pub step: u64,
    pub seed: u64,
    /// Categories in the order of class indices.
    pub categories: Vec<Category>,
    pub best: Option<Best>,
    /// How the task uses its weights, if there are several ways: a model that starts from this
    /// checkpoint uses them in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convention: Option<String>,
    /// State of early stopping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Whether the run stopped before the evaluation due at this step: it comes first on resuming.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evaluation_pending: bool,
    /// Whether the variables under their own names are the moving average.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub averaged: bool,
}

/// The best evaluation so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub metric: String,
    /// Never NaN, except in checkpoints of earlier versions, which have `null`.
    #[serde(deserialize_with = "null_as_nan")]
    pub value: f64,
    pub step: u64,
}

fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(deserializer).map(|value| value.unwrap_or(f64::NAN))
}
