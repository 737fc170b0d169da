//! The name of every file of a run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use sonotune_base::Error;
use sonotune_dataset::Split;

pub(super) const CONFIG: &str = "config.toml";
pub(super) const ENVIRONMENT: &str = "env.json";
pub(super) const WEIGHTS: &str = "weights.json";
pub(super) const DATA: &str = "data.json";
pub(super) const LOG: &str = "train.log";
pub(super) const METRICS: &str = "metrics.jsonl";
pub(super) const SUMMARY: &str = "summary.json";
pub(super) const SKIPPED: &str = "skipped.json";
pub(super) const CHECKPOINTS: &str = "checkpoints";
pub(super) const REPORT: &str = "report.html";
pub(super) const REPORT_DATA: &str = "report";
pub(super) const RANKS: &str = "ranks";
pub const EVENTS_PREFIX: &str = "events.out.tfevents.";

/// File of the newest state within the folder of checkpoints.
pub const LAST: &str = "last.safetensors";
/// File of the best model within the folder of checkpoints: no optimiser state.
pub const BEST: &str = "best.safetensors";
const STEP_PREFIX: &str = "step-";
const STEP_SUFFIX: &str = ".safetensors";

/// File name of the checkpoint kept for a step.
#[must_use]
pub fn checkpoint_of_step(step: u64) -> String {
    format!("{STEP_PREFIX}{step:08}{STEP_SUFFIX}")
}

/// The step that the file name of a kept checkpoint stands for.
#[must_use]
pub fn step_of_checkpoint(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(STEP_PREFIX)?.strip_suffix(STEP_SUFFIX)?;
    let whole = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    if whole { digits.parse().ok() } else { None }
}

/// `eval-SPLIT.json` and `images-SPLIT.csv`: scores of an earlier run's model.
pub(super) fn is_score(name: &str) -> bool {
    let is = |start, end| name.starts_with(start) && name.ends_with(end);
    is("eval-", ".json") || is("images-", ".csv")
}

/// The files of the run in a folder, whether or not they exist.
///
/// | file | holds |
/// |---|---|
/// | `config.toml` | the resolved config |
/// | `env.json` | [`Environment`](super::Environment); marks the folder as a run folder |
/// | `weights.json` | what was loaded from where |
/// | `data.json` | annotations and image files at the start, to notice changes on resuming |
/// | `train.log` | everything printed, with time stamps |
/// | `metrics.jsonl` | one JSON object per log line and evaluation |
/// | `events.out.tfevents.*` | TensorBoard |
/// | `skipped.json` | images that could not be used, if the run skips them |
/// | `ranks/` | with several processes, what each but the first reports, with time stamps |
/// | `checkpoints/` | last, best and those of single steps |
/// | `eval-*.json` | scores, if the run was evaluated |
/// | `images-*.csv` | the same by image |
/// | `summary.json` | [`Summary`](super::Summary), once the run has ended |
/// | `report.html` | everything on one page |
/// | `report/` | what that page alone needs: counts, and the pictures it shows |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFiles(PathBuf);

impl RunFiles {
    /// The files of a run that is, or will be, in `folder`.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The files of the run in `folder`.
    ///
    /// # Errors
    /// Of kind config if it is not a run folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let files = Self::of(folder);
        if files.config().exists() {
            return Ok(files);
        }
        let found = if folder.exists() { "has no config.toml" } else { "does not exist" };
        let message = format!("{} is not a run folder: it {found}", folder.display());
        Err(Error::config(message).into())
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The resolved config.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join(CONFIG)
    }

    #[must_use]
    pub fn environment(&self) -> PathBuf {
        self.0.join(ENVIRONMENT)
    }

    /// The log of a process other than the first.
    #[must_use]
    pub fn rank_log(&self, rank: usize) -> PathBuf {
        self.0.join(RANKS).join(format!("rank-{rank}.log"))
    }

    /// What was loaded from which weights.
    #[must_use]
    pub fn weights(&self) -> PathBuf {
        self.0.join(WEIGHTS)
    }

    /// The annotations and image files that the run was started with.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join(DATA)
    }

    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join(LOG)
    }

    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.0.join(METRICS)
    }

    #[must_use]
    pub fn summary(&self) -> PathBuf {
        self.0.join(SUMMARY)
    }

    /// The list of skipped images.
    #[must_use]
    pub fn skipped(&self) -> PathBuf {
        self.0.join(SKIPPED)
    }

    /// Scores on a split, as `sonotune eval` writes them.
    #[must_use]
    pub fn scores(&self, split: Split) -> PathBuf {
        self.0.join(format!("eval-{split}.json"))
    }

    /// Scores of the images of a split, as `sonotune eval` writes them.
    #[must_use]
    pub fn image_scores(&self, split: Split) -> PathBuf {
        self.0.join(format!("images-{split}.csv"))
    }

    /// Folder of the checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join(CHECKPOINTS)
    }

    /// The newest state.
    #[must_use]
    pub fn last(&self) -> PathBuf {
        self.checkpoints().join(LAST)
    }

    /// The best model.
    #[must_use]
    pub fn best(&self) -> PathBuf {
        self.checkpoints().join(BEST)
    }

    /// The checkpoint kept for a step.
    #[must_use]
    pub fn step(&self, step: u64) -> PathBuf {
        self.checkpoints().join(checkpoint_of_step(step))
    }

    /// The page that shows the run.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.0.join(REPORT)
    }

    /// Folder of what that page alone needs.
    #[must_use]
    pub fn report_data(&self) -> PathBuf {
        self.0.join(REPORT_DATA)
    }
}
