//! The contents of a run folder, read as far as possible.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Kept, Shown, SplitCounts,
    curves::Logged,
    kept::{By, read_json},
};
use sonotune_base::fs::read_if_exists;
use sonotune_dataset::Split;
use sonotune_run_folder::RunFiles;
use sonotune_run_folder::{EvalRecord, RunStatus, Summary};

/// The contents of a run folder. What is missing or cannot be understood is absent here; `notes` say
/// which.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) path: PathBuf,
    /// `config.toml` as it is in the folder.
    pub(super) config_text: String,
    pub(super) config: toml::Table,
    /// That the config names; those of training where it cannot be loaded here.
    pub(super) summary: Option<Summary>,
    /// Another process has the run open.
    pub(super) running: bool,
    pub(super) environment: Option<Value>,
    pub(super) weights: Option<Value>,
    pub(super) skipped: Option<Value>,
    pub(super) logged: Logged,
    pub(super) counts: Vec<SplitCounts>,
    pub(super) evaluations: Vec<Evaluation>,
    /// Warnings of `train.log`, without duplicates.
    pub(super) warnings: Vec<String>,
    /// What could not be read.
    pub(super) notes: Vec<String>,
}

/// One evaluation, of training or of `sonotune eval`.
#[derive(Debug)]
pub(super) struct Evaluation {
    pub(super) by: By,
    pub(super) shown: Shown,
    /// The checkpoint, for `sonotune eval`.
    pub(super) checkpoint: Option<PathBuf>,
    /// Whether the weights were the moving average.
    pub(super) averaged: bool,
}

impl Records {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let files = RunFiles::open(path)?;
        let config_path = files.config();
        let config_text = read_if_exists(&config_path)?.unwrap_or_default();
        let mut notes = Vec::new();
        let config = config_text.parse::<toml::Table>().unwrap_or_else(|e: toml::de::Error| {
            notes.push(format!("{} cannot be read: {}", config_path.display(), e.message()));
            toml::Table::new()
        });
        let metrics = noted(read_if_exists(&files.metrics()), &mut notes);
        let logged = Logged::parse(&metrics.unwrap_or_default());
        if logged.unreadable_lines > 0 {
            notes.push(format!(
                "{} line(s) of metrics.jsonl are not records",
                logged.unreadable_lines
            ));
        }
        let log = noted(read_if_exists(&files.log()), &mut notes).unwrap_or_default();
        let mut json = Json { notes: &mut notes };
        Ok(Self {
            summary: json.read(&files.summary()),
            environment: json.read(&files.environment()),
            weights: json.read(&files.weights()),
            skipped: json.read(&files.skipped()),
            counts: noted(Kept::of(path).counts(), json.notes).unwrap_or_default(),
            evaluations: evaluations(&files, &mut json),
            path: path.to_owned(),
            config_text,
            config,
            running: is_running(&files.log()),
            logged,
            warnings: warnings(&log),
            notes,
        })
    }

    /// Whether the config names a test split.
    pub(super) fn has_test_split(&self) -> bool {
        self.config.get("dataset").is_some_and(|dataset| dataset.get("test").is_some())
    }

    /// A text of the config, such as `task.type`.
    pub(super) fn config_value(&self, table: &str, key: &str) -> Option<&str> {
        self.config.get(table)?.get(key)?.as_str()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.summary.as_ref().is_some_and(|s| s.status == RunStatus::Finished)
    }

    /// The steps after which the run was resumed.
    pub(super) fn resumed(&self) -> Vec<u64> {
        let parts = self.environment.as_ref().and_then(|e| e.get("resumed")?.as_array());
        parts.into_iter().flatten().filter_map(|part| part.get("after_step")?.as_u64()).collect()
    }
}

struct Json<'a> {
    notes: &'a mut Vec<String>,
}

impl Json<'_> {
    fn read<T: DeserializeOwned>(&mut self, path: &Path) -> Option<T> {
        noted(read_json(path), self.notes)
    }
}

/// What was read; an error becomes a note.
fn noted<T>(read: Result<Option<T>>, notes: &mut Vec<String>) -> Option<T> {
    read.unwrap_or_else(|error| {
        notes.push(format!("{error:#}"));
        None
    })
}

fn evaluations(files: &RunFiles, json: &mut Json<'_>) -> Vec<Evaluation> {
    let kept = Kept::of(files.folder());
    let mut evaluations = Vec::new();
    for split in [Split::Val, Split::Test, Split::Train] {
        if let Some(shown) = noted(kept.shown(By::Training, split), json.notes) {
            evaluations.push(Evaluation {
                by: By::Training,
                shown,
                checkpoint: None,
                averaged: false,
            });
        }
        let Some(record) = json.read::<EvalRecord>(&files.scores(split)) else { continue };
        let kept = noted(kept.shown(By::Eval, split), json.notes);
        evaluations.push(Evaluation::of_record(record, kept));
    }
    evaluations
}

impl Evaluation {
    /// `kept` may belong to another evaluation, if the record was put there by hand.
    fn of_record(record: EvalRecord, kept: Option<Shown>) -> Self {
        let (checkpoint, averaged) = (Some(record.checkpoint.clone()), record.averaged);
        let same = |kept: &Shown| {
            let values = |report: &sonotune_metrics::Report| -> Vec<(String, u64)> {
                report.metrics.iter().map(|m| (m.name.clone(), m.value.to_bits())).collect()
            };
            kept.step == record.step && values(&kept.report) == values(&record.report)
        };
        let shown = kept.filter(same).unwrap_or_else(|| record.into());
        Self { by: By::Eval, shown, checkpoint, averaged }
    }
}

/// A run holds its log locked.
fn is_running(log: &Path) -> bool {
    File::open(log).is_ok_and(|log| matches!(log.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// `2026-01-31T12:00:00Z warning: …`, the rest.
fn warnings(log: &str) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for line in log.lines() {
        let Some((_, text)) = line.split_once(" warning: ") else { continue };
        if !warnings.iter().any(|known| known == text) {
            warnings.push(text.to_owned());
        }
    }
    warnings
}
