//! Every key of a config file. Defaults carry their reason; `docs/configuration.md` lists them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    backbone::BackboneConfig,
    data::{
        DatasetConfig,
        transforms::{AugmentConfig, PreprocessConfig},
    },
    embedding_cache::EmbeddingCacheConfig,
    optim::{EmaConfig, OptimizerConfig, ScheduleConfig},
    task::TaskConfig,
    trainer::EarlyStoppingConfig,
};

/// One run: what to train, on what, from what, and how.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Every random choice derives from it.
    #[serde(default)]
    pub seed: u64,
    #[serde(default)]
    pub device: DeviceChoice,
    #[serde(default)]
    pub precision: Precision,
    #[serde(default)]
    pub deterministic: Deterministic,
    /// The run's folder; must not exist yet, or `--overwrite` or `--resume` is given.
    pub run_dir: PathBuf,
    pub dataset: Box<dyn DatasetConfig>,
    #[serde(default)]
    pub preprocess: PreprocessConfig,
    #[serde(default)]
    pub augment: AugmentConfig,
    #[serde(default)]
    pub loader: LoaderConfig,
    pub backbone: Box<dyn BackboneConfig>,
    pub task: Box<dyn TaskConfig>,
    #[serde(default)]
    pub weights: Option<WeightsConfig>,
    #[serde(default)]
    pub embedding_cache: Option<EmbeddingCacheConfig>,
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    #[serde(default)]
    pub schedule: ScheduleConfig,
    pub train: TrainConfig,
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    #[serde(default)]
    pub logging: LoggingConfig,
}

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA where there is one, else the CPU; the choice is printed.
    #[default]
    Auto,
    Cpu,
    /// The first CUDA device; an error where there is none.
    Cuda,
}

/// Number format of matrix products and convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    Fp32,
    /// bf16 autocast; weights and optimiser state stay fp32.
    Bf16,
}

/// Whether the same run must give the same numbers on the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deterministic {
    /// The fastest kernels; on the CPU they are deterministic all the same.
    #[default]
    Off,
    /// Deterministic kernels where there are some; the other operators are listed at the end.
    Warn,
    /// An operator without one is an error.
    Require,
}

/// `[loader]`: how images come off the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Images of one forward pass.
    pub batch_size: usize,
    /// Worker threads; 0: one per core, at most 8.
    pub num_workers: usize,
    /// Batches prepared ahead.
    pub prefetch_batches: usize,
    /// A new order each epoch in training.
    pub shuffle: bool,
    /// What to do about an image that cannot be used.
    pub bad_images: BadImages,
    /// Distinct images of a split that may be skipped. A few damaged files are an accident; more are
    /// a sign that the folder or the annotations are the wrong ones, and the data set is not the one
    /// that was meant.
    pub max_bad_images: usize,
}

/// What to do about an image that is missing, damaged, hostile, or does not fit its annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadImages {
    /// The run ends and names it.
    #[default]
    Fail,
    /// Training puts another in its place, evaluation leaves it out; it is listed.
    Skip,
}

impl LoaderConfig {
    /// Tens of thousands of threads end a process without a word: the system runs out of maps of
    /// memory within a thread's start, where nothing can be told.
    pub const MOST_WORKERS: usize = 1024;
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch_size: 8,
            num_workers: 0,
            prefetch_batches: 4,
            shuffle: true,
            bad_images: BadImages::Fail,
            max_bad_images: 10,
        }
    }
}

/// `[weights]`: pretrained weights to start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsConfig {
    pub path: PathBuf,
    /// Naming convention of the file; recognised when absent.
    #[serde(default)]
    pub convention: Option<String>,
    /// What a run has trained, saved alone: lies on top of the file at `path`.
    #[serde(default)]
    pub overlay: Option<PathBuf>,
    /// Patterns of file keys or model variables that are not loaded, although the file has them.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Patterns of model variables that may be missing from the file (`head.*`); `*` matches any
    /// run of characters.
    #[serde(default)]
    pub allow_missing: Vec<String>,
    /// Patterns of file keys that may have no place in the model.
    #[serde(default)]
    pub allow_unexpected: Vec<String>,
    /// Patterns of model variables that keep their random start where shapes differ.
    #[serde(default)]
    pub allow_misshapen: Vec<String>,
    /// Files that some of the variables come from instead.
    #[serde(default)]
    pub parts: Vec<WeightsPartConfig>,
}

/// `[[weights.parts]]`: a file that gives some of the variables, such as a head trained elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsPartConfig {
    pub path: PathBuf,
    /// Patterns of the model variables that come from this file and from no other.
    pub variables: Vec<String>,
    /// Naming convention of the file; recognised when absent.
    #[serde(default)]
    pub convention: Option<String>,
    /// As [`WeightsConfig::ignore`].
    #[serde(default)]
    pub ignore: Vec<String>,
    /// As [`WeightsConfig::allow_missing`].
    #[serde(default)]
    pub allow_missing: Vec<String>,
    /// As [`WeightsConfig::allow_unexpected`]; keys for other variables need no leave.
    #[serde(default)]
    pub allow_unexpected: Vec<String>,
    /// As [`WeightsConfig::allow_misshapen`].
    #[serde(default)]
    pub allow_misshapen: Vec<String>,
}

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
    #[serde(default)]
    pub clip_grad_norm: Option<f64>,
    /// Also writes the last checkpoint this often; it is always written at evaluations and the end.
    #[serde(default)]
    pub checkpoint_every_steps: Option<u64>,
    /// Newest checkpoints that are kept under their step; 0: the last alone.
    #[serde(default)]
    pub keep_checkpoints: u64,
    /// Absent: no average.
    #[serde(default)]
    pub ema: Option<EmaConfig>,
    /// Absent: the run makes all its steps.
    #[serde(default)]
    pub early_stopping: Option<EarlyStoppingConfig>,
}

fn one() -> u64 {
    1
}

/// `[evaluation]`: when and how the model is scored in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Steps between evaluations on the validation split; absent: only at the end.
    pub every_steps: Option<u64>,
    /// Metric that picks the best checkpoint; absent: no best checkpoint is kept.
    pub best_metric: Option<String>,
    pub best_is: Direction,
    /// Images of one forward pass; absent: as in training.
    pub batch_size: Option<usize>,
    /// Leaves out images without objects, as mmdet's `filter_cfg` does. The scores then say nothing
    /// about false alarms there. Default false.
    pub filter_empty_gt: bool,
    /// Leaves out images whose shorter side has fewer pixels, as mmdet's `filter_cfg` does.
    /// Default 0: none.
    pub min_size: u32,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every_steps: None,
            best_metric: None,
            best_is: Direction::Highest,
            batch_size: None,
            filter_empty_gt: false,
            min_size: 0,
        }
    }
}

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Highest,
    Lowest,
}

/// `[logging]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingConfig {
    /// Steps between log lines; losses are fetched from the device only then.
    pub every_steps: u64,
    /// Pictures of inputs and predictions per evaluation.
    pub num_images: usize,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { every_steps: 50, num_images: 8 }
    }
}
