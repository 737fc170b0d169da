//! One run of a comparison.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;

use sonotune_base::{Error, fs::read_if_exists};
use sonotune_dataset::Split;
use sonotune_metrics::Direction;
use sonotune_run_folder::{EvalRecord, LAST, RunFiles};

/// A run with its scores on a split.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) record: EvalRecord,
    pub(super) seed: u64,
    /// Every key of its config, in full, with its value, except those that may differ between repeats
    /// of a run.
    pub(super) settings: BTreeMap<String, String>,
    best: Option<(String, Direction)>,
    max_steps: Option<u64>,
}

/// Keys that may differ in a repeat of a run: the seed and the folder, and what does not change results.
const FREE: [&str; 4] = ["seed", "run_dir", "loader.num_workers", "loader.prefetch_batches"];

impl Run {
    pub(super) fn read(path: &Path, split: Split) -> Result<Self> {
        let files = RunFiles::open(path)?;
        let config_path = files.config();
        let text = read_if_exists(&config_path)?.unwrap_or_default();
        let config: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            Error::config(format!("{} cannot be read: {}", config_path.display(), e.message()))
        })?;
        let record = read_record(&files, split)?;
        let mut settings = BTreeMap::new();
        flatten("", &config, &mut settings);
        settings.retain(|key, _| !FREE.contains(&key.as_str()) && !key.starts_with("logging."));
        let evaluation = config.get("evaluation");
        let text_of = |key: &str| evaluation.and_then(|e| e.get(key)?.as_str());
        let best = text_of("best_metric").map(|name| {
            let lowest = text_of("best_is") == Some("lowest");
            (name.to_owned(), if lowest { Direction::Lowest } else { Direction::Highest })
        });
        let number = |value: Option<&toml::Value>| u64::try_from(value?.as_integer()?).ok();
        Ok(Self {
            path: path.to_owned(),
            record,
            seed: number(config.get("seed")).unwrap_or_default(),
            settings,
            best,
            max_steps: number(config.get("train").and_then(|t| t.get("max_steps"))),
        })
    }

    /// Which way its config says that a metric improves.
    pub(super) fn direction_of(&self, metric: &str) -> Option<Direction> {
        self.best.as_ref().filter(|(name, _)| name == metric).map(|(_, direction)| *direction)
    }

    /// A note if the last checkpoint is not that of the last step.
    pub(super) fn unfinished(&self) -> Option<String> {
        let is_last = self.record.checkpoint.ends_with(LAST);
        let steps = self.max_steps.filter(|&steps| is_last && self.record.step < steps)?;
        Some(format!(
            "{} was scored after step {} of {steps}: training was not finished",
            self.path.display(),
            self.record.step
        ))
    }
}

fn read_record(files: &RunFiles, split: Split) -> Result<EvalRecord> {
    let (run, path) = (files.folder(), files.scores(split));
    let command = format!("`sonotune eval --run {} --split {split}`", run.display());
    let Some(text) = read_if_exists(&path)? else {
        return Err(Error::data(format!(
            "{} has no scores for the {split} split (no {}): compute them with {command}",
            run.display(),
            path.display()
        ))
        .into());
    };
    let record: EvalRecord = serde_json::from_str(&text).map_err(|e| {
        Error::data(format!(
            "{} is not a record of scores: {e}; write it again with {command}",
            path.display()
        ))
    })?;
    if record.split != split {
        return Err(Error::data(format!(
            "{} contains scores for the {} split: compute those for {split} with {command}",
            path.display(),
            record.split
        ))
        .into());
    }
    Ok(record)
}

/// # Errors
/// A config error if a folder is given twice: it would count twice.
pub(super) fn ensure_distinct(runs: &[Run]) -> Result<()> {
    let place = |run: &Run| run.path.canonicalize().unwrap_or_else(|_| run.path.clone());
    let places: Vec<_> = runs.iter().map(place).collect();
    for (i, run) in runs.iter().enumerate() {
        if places[..i].contains(&places[i]) {
            return Err(Error::config(format!("{} is given twice", run.path.display())).into());
        }
    }
    Ok(())
}

fn flatten(prefix: &str, table: &toml::Table, settings: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&key, table, settings),
            toml::Value::String(text) => drop(settings.insert(key, text.clone())),
            other => drop(settings.insert(key, other.to_string())),
        }
    }
}
