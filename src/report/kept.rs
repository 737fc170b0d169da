//! What a run keeps for its report only, as `report/*.json`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Ranked;
use sonotune_base::fs::{atomic_write, read_if_exists};
use sonotune_dataset::{Dataset, Split, Statistics};
use sonotune_metrics::Report;
use sonotune_run_folder::{EvalRecord, RunFiles};

/// The folder `report/` of a run.
#[derive(Debug, Clone)]
pub struct Kept(PathBuf);

/// Counts of a split that the run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    pub split: Split,
    pub counts: Statistics,
}

/// An evaluation, with what is worth looking at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    pub split: Split,
    /// Optimiser steps of the weights.
    pub step: u64,
    /// Counts of the split as it was scored.
    pub counts: Statistics,
    pub report: Report,
    /// Absent if the task does not rank images.
    pub ranked: Option<Ranked>,
}

impl From<EvalRecord> for Shown {
    /// Without pictures, and with the counts that a record has.
    fn from(record: EvalRecord) -> Self {
        let dataset = Dataset {
            source: record.dataset,
            source_sha256: record.dataset_sha256,
            notes: record.dataset_notes,
            ..Dataset::default()
        };
        let counts = Statistics {
            num_images: record.num_images,
            num_objects: record.num_objects,
            ..Statistics::of(&dataset)
        };
        let EvalRecord { split, step, report, .. } = record;
        Self { split, step, counts, report, ranked: None }
    }
}

/// Who evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The training itself, on its validation split.
    Training,
    /// `sonotune eval`.
    Eval,
}

impl Kept {
    /// The folder of the run in `run_dir`.
    #[must_use]
    pub fn of(run_dir: &Path) -> Self {
        Self(RunFiles::of(run_dir).report_data())
    }

    /// Keeps the counts of the splits that a training uses.
    ///
    /// # Errors
    /// File system errors.
    pub fn write_counts(&self, counts: &[SplitCounts]) -> Result<()> {
        self.write("data.json", &counts)
    }

    /// Keeps the newest evaluation of a split.
    ///
    /// # Errors
    /// File system errors.
    pub fn write_shown(&self, by: By, shown: &Shown) -> Result<()> {
        self.write(&name(by, shown.split), shown)
    }

    pub(super) fn counts(&self) -> Result<Option<Vec<SplitCounts>>> {
        self.read("data.json")
    }

    /// The newest evaluation of a split, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read or is not such a record.
    pub fn shown(&self, by: By, split: Split) -> Result<Option<Shown>> {
        self.read(&name(by, split))
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.0.join(name);
        std::fs::create_dir_all(&self.0).map_err(|e| sonotune_base::fs::explain(&self.0, e))?;
        atomic_write(&path, serde_json::to_string(value)?.as_bytes())
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        read_json(&self.0.join(name))
    }
}

fn name(by: By, split: Split) -> String {
    match by {
        By::Training => format!("training-{split}.json"),
        By::Eval => format!("eval-{split}.json"),
    }
}

/// The content of a JSON file, `None` if there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = read_if_exists(path)? else { return Ok(None) };
    let parsed = serde_json::from_str(&text);
    parsed
        .map(Some)
        .map_err(|e| anyhow::anyhow!("{} is not what it should be: {e}", path.display()))
}
