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
use crate::{
    Error, config,
    data::Split,
    fs::read_if_exists,
    logging::{RunStatus, Summary},
    run::EvalRecord,
};

/// The contents of a run folder. What is missing or cannot be understood is absent here; `notes` say
/// which.
#[derive(Debug)]
pub(super) struct RunFiles {
    pub(super) path: PathBuf,
    /// `config.toml` as it is in the folder.
    pub(super) config_text: String,
    pub(super) config: toml::Table,
    /// The splits that the config names; those of training if it cannot be loaded here.
    pub(super) splits: Vec<Split>,
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

impl RunFiles {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let config_path = path.join("config.toml");
        let Some(config_text) = read_if_exists(&config_path)? else {
            return Err(Error::config(format!(
                "{} is not a run folder: it has no config.toml",
                path.display()
            ))
            .into());
        };
        let mut notes = Vec::new();
        let config = config_text.parse::<toml::Table>().unwrap_or_else(|e: toml::de::Error| {
            notes.push(format!("{} cannot be read: {}", config_path.display(), e.message()));
            toml::Table::new()
        });
        let splits = config::load(&config_path, &[]).map_or_else(
            |_| vec![Split::Train, Split::Val],
            |loaded| loaded.config.dataset.splits(),
        );
        let metrics = noted(read_if_exists(&path.join("metrics.jsonl")), &mut notes);
        let logged = Logged::parse(&metrics.unwrap_or_default());
        if logged.unreadable_lines > 0 {
            notes.push(format!(
                "{} line(s) of metrics.jsonl are not records",
                logged.unreadable_lines
            ));
        }
        let log = noted(read_if_exists(&path.join("train.log")), &mut notes).unwrap_or_default();
        let mut json = Json { path, notes: &mut notes };
        Ok(Self {
            summary: json.read("summary.json"),
            environment: json.read("env.json"),
            weights: json.read("weights.json"),
            skipped: json.read("skipped.json"),
            counts: noted(Kept::of(path).counts(), json.notes).unwrap_or_default(),
            evaluations: evaluations(&mut json),
            path: path.to_owned(),
            config_text,
            config,
            splits,
            running: is_running(path),
            logged,
            warnings: warnings(&log),
            notes,
        })
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
    path: &'a Path,
    notes: &'a mut Vec<String>,
}

impl Json<'_> {
    fn read<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        noted(read_json(&self.path.join(name)), self.notes)
    }
}

/// What was read; an error becomes a note.
fn noted<T>(read: Result<Option<T>>, notes: &mut Vec<String>) -> Option<T> {
    read.unwrap_or_else(|error| {
        notes.push(format!("{error:#}"));
        None
    })
}

fn evaluations(json: &mut Json<'_>) -> Vec<Evaluation> {
    let kept = Kept::of(json.path);
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
        let Some(record) = json.read::<EvalRecord>(&format!("eval-{split}.json")) else { continue };
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
            let values = |report: &crate::task::Report| -> Vec<(String, u64)> {
                report.metrics.iter().map(|m| (m.name.clone(), m.value.to_bits())).collect()
            };
            kept.step == record.step && values(&kept.report) == values(&record.report)
        };
        let shown = kept.filter(same).unwrap_or_else(|| record.into_shown());
        Self { by: By::Eval, shown, checkpoint, averaged }
    }
}

/// A run keeps its log locked.
fn is_running(path: &Path) -> bool {
    let log = File::open(path.join("train.log"));
    log.is_ok_and(|log| matches!(log.try_lock_shared(), Err(TryLockError::WouldBlock)))
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
