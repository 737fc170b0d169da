//! How a run ended.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use sonotune_metrics::Metric;

/// Content of `summary.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Why it ended.
    pub status: RunStatus,
    /// Why it made fewer steps than `train.max_steps`, if early stopping ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_early: Option<String>,
    /// What stopped it, if it did not finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Optimiser steps done, those before a resume included.
    pub steps: u64,
    /// Wall time of this process.
    pub wall_seconds: f64,
    /// Peak memory: of the GPU, or of this process on a CPU.
    pub peak_memory_bytes: Option<u64>,
    /// Absent if no metric picks one.
    pub best: Option<BestModel>,
    /// Metrics of the last evaluation.
    pub metrics: Vec<Metric>,
    /// What a reader of these must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What went wrong without ending the run.
    #[serde(flatten)]
    pub faults: Faults,
    /// Complete command lines for what comes next: evaluate, predict, or resume.
    pub next_commands: Vec<String>,
}

/// Problems that a run survived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// Distinct images that could not be used; `skipped.json` lists them.
    pub skipped_images: usize,
    /// Operators that have run, with `deterministic = "warn"`.
    pub nondeterministic_operators: Vec<String>,
    /// Log files that lack records, each with how many and why. Filled in
    /// when the logs are closed.
    pub lost_records: Vec<String>,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// All steps are done, or early stopping ended it.
    Finished,
    /// The user stopped it; it can be resumed.
    Interrupted,
    /// An error, e.g. a loss that is not finite.
    Failed,
}

/// The best evaluation so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestModel {
    /// Name of the metric that picks the best, e.g. `f1`.
    pub metric: String,
    /// Value of that metric.
    pub value: f64,
    /// Step of the evaluation.
    pub step: u64,
    /// File that keeps it.
    pub checkpoint: PathBuf,
}
