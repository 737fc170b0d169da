//! Every key of a config file, table by table; most tables belong to the module that uses them.
//! Each default states its reason; `docs/configuration.md` lists them.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use sonotune_base::Error;
use sonotune_dataset::{
    DatasetConfig,
    transforms::{AugmentConfig, PreprocessConfig},
};
use sonotune_engine::{
    backbone::BackboneConfig,
    determinism::Deterministic,
    device::{AttentionBackend, Compute, DeviceChoice, Local, PrecisionChoice},
    embedding_cache::EmbeddingCacheConfig,
    loader::LoaderConfig,
    optim::{OptimizerConfig, ScheduleConfig},
    parallel::ParallelConfig,
    task::TaskConfig,
    trainer::TrainConfig,
};
use sonotune_metrics::Direction;
use sonotune_weights::WeightsConfig;

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
    pub precision: PrecisionChoice,
    /// Without effect on the CPU.
    #[serde(default)]
    pub attention_backend: AttentionBackend,
    #[serde(default)]
    pub deterministic: Deterministic,
    /// The run's folder; must not exist yet, unless `--overwrite` or `--resume` is given.
    pub run_dir: PathBuf,
    /// Absent: the config is for `predict` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Box<dyn DatasetConfig>>,
    #[serde(default)]
    pub preprocess: PreprocessConfig,
    #[serde(default)]
    pub augment: AugmentConfig,
    #[serde(default)]
    pub loader: LoaderConfig,
    pub backbone: Box<dyn BackboneConfig>,
    pub task: Box<dyn TaskConfig>,
    pub weights: Option<WeightsConfig>,
    pub embedding_cache: Option<EmbeddingCacheConfig>,
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    #[serde(default)]
    pub schedule: ScheduleConfig,
    pub train: TrainConfig,
    #[serde(default)]
    pub parallel: ParallelConfig,
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    #[serde(default)]
    pub logging: LoggingConfig,
}

impl RunConfig {
    /// What it says about the device.
    #[must_use]
    pub fn compute(&self) -> Compute {
        Compute {
            device: self.device,
            precision: self.precision,
            attention: self.attention_backend,
            deterministic: self.deterministic,
            local: Local::default(),
        }
    }

    /// The `[dataset]` table.
    ///
    /// # Errors
    /// Of kind config if there is none.
    pub fn dataset(&self) -> Result<&dyn DatasetConfig> {
        self.dataset.as_deref().ok_or_else(|| Error::config(NO_DATASET).into())
    }
}

/// Why a config without `[dataset]` is refused.
pub(super) const NO_DATASET: &str =
    "missing table `[dataset]`: only `predict --config` can do without it";

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
    /// Test-time augmentation: also predicts the mirror image, mirrors that prediction back, and averages
    /// the two. Takes twice the time. Default false.
    pub flip: bool,
    /// Leaves out images without objects, as mmdet's `filter_cfg` does. The scores then ignore false
    /// positives there. Default false.
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
            flip: false,
            filter_empty_gt: false,
            min_size: 0,
        }
    }
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
