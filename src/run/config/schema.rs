//! Every key of a config file, table by table; most tables belong to the module that uses them.
//! Each default states its reason; `docs/configuration.md` lists them.

use std::path::PathBuf;

use anyhow::Result;
use schemars::JsonSchema;
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
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Every random choice derives from it: initial weights, order, augmentation.
    #[serde(default)]
    pub seed: u64,
    /// `auto` chooses the first CUDA device if there is one, else the CPU, and prints its choice; `cpu`; `cuda`
    /// fails if there is none; `cuda:1` is the second one. Devices are numbered as `nvidia-smi` numbers them,
    /// unless `CUDA_DEVICE_ORDER` is set; with `CUDA_VISIBLE_DEVICES`, those it names from 0.
    #[serde(default)]
    pub device: DeviceChoice,
    /// Number format of matrix products and convolutions, see
    /// docs/configuration.md#precision-and-attention-on-a-gpu. `auto`: `bf16` on a GPU that computes in it, else
    /// `fp32`. `fp32`. `tf32`: fp32 whose products round their operands to 10 bits of mantissa; GPUs only,
    /// elsewhere it is fp32 and a note says so. `bf16`: autocast; weights and optimiser state stay fp32. `fp64`:
    /// everything in double precision, for comparisons.
    #[serde(default)]
    pub precision: PrecisionChoice,
    /// The kernel that computes attention on a GPU where it fits: `flash`, `cudnn`, `efficient` or `math`, see
    /// docs/configuration.md#precision-and-attention-on-a-gpu. The CPU has only one.
    #[serde(default)]
    pub attention_backend: AttentionBackend,
    /// `warn`: deterministic kernels if they exist; operators without one are listed in the log and in
    /// `summary.json` at the end. `require`: such an operator is an error. See
    /// docs/reliability.md#deterministic-mode.
    #[serde(default)]
    pub deterministic: Deterministic,
    /// Folder of the run. It must not exist yet, unless `--overwrite` or `--resume` is given.
    pub run_dir: PathBuf,
    /// The images and what is known about them. A run needs its `train` and `val`; `test` is for `sonotune eval`.
    /// Without this table the config is for `sonotune predict --config` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Box<dyn DatasetConfig>>,
    /// How an image becomes network input. Mean and standard deviation, if used, come from the backbone.
    #[serde(default)]
    pub preprocess: PreprocessConfig,
    /// Random changes in training, a function of seed, step and position in the batch.
    #[serde(default)]
    pub augment: AugmentConfig,
    /// How images are read and put together into batches.
    #[serde(default)]
    pub loader: LoaderConfig,
    /// The network that turns an image into features.
    pub backbone: Box<dyn BackboneConfig>,
    /// What is learnt on these features: head, loss, predictions and scores.
    pub task: Box<dyn TaskConfig>,
    /// Pretrained weights to start from; without this table the start is random. Loading is strict: anything that
    /// does not fit is an error unless a pattern allows it. In patterns `*` matches any run of characters.
    pub weights: Option<WeightsConfig>,
    /// Stores a frozen backbone's output for each image on disk, so that training the rest needs neither backbone nor
    /// pixels. Refused if any part of the backbone trains. See docs/finetuning.md.
    pub embedding_cache: Option<EmbeddingCacheConfig>,
    /// How gradients change the variables.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// A factor on every group's learning rate, by optimiser step, multiplied by that of the warm-up.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// How long is trained, and what is kept.
    pub train: TrainConfig,
    /// How several processes (docs/scale-out.md) work together. How many there are is not in the config: `--processes
    /// N` of `train`, `eval` and `predict`, torchrun or Slurm say so.
    #[serde(default)]
    pub parallel: ParallelConfig,
    /// When and how the model is scored.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// What is logged, and how often.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Steps between evaluations on the validation split; none: only at the end.
    pub every_steps: Option<u64>,
    /// Metric that picks the best checkpoint, e.g. `f1`; none: no best checkpoint is kept. Where it is undefined
    /// (NaN), as for a category that `dataset.val` lacks, no checkpoint is the best; that is noted.
    pub best_metric: Option<String>,
    /// Whether the `highest` or the `lowest` value of that metric is the best.
    pub best_is: Direction,
    /// Images per forward pass of a process: several processes predict different batches, and scores are the same
    /// for any number of them. If absent, `loader.batch_size`.
    pub batch_size: Option<usize>,
    /// Test-time augmentation: also predicts the mirror image, with mirrored prompts, and averages
    /// (docs/prediction.md#ensembles-and-mirror-images) both. Twice the time; for `eval`, `predict` and
    /// evaluations in training. Not with `[embedding_cache]` in training.
    pub flip: bool,
    /// Leaves out images without objects, as mmdetection's `filter_cfg`: false positives there are then not
    /// counted. The reference's segmentation scores use `true`, and `min_size` 16. How many are left out is
    /// printed and recorded with the score.
    pub filter_empty_gt: bool,
    /// Leaves out images whose shorter side has fewer pixels; 0: none.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
