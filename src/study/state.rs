//! How far a cell is.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sonotune_base::fs::{atomic_write, read_if_exists};
use sonotune_dataset::Split;
use sonotune_run_folder::{RunFiles, RunStatus, Summary};

use crate::{cells::Cell, folder::StudyFiles};

/// How far a cell is, by its files alone.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Nothing was done, or it was interrupted: training begins or goes on.
    ToTrain,
    /// It is to be scored.
    ToScore,
    /// It has its scores.
    Done,
    Failed(Failure),
}

/// Why a cell ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done: `train` or `eval`.
    pub verb: String,
    pub exit_code: u8,
    /// The last that it printed.
    pub message: String,
}

impl State {
    /// The state of a cell.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn of(cell: &Cell, files: &StudyFiles) -> Result<Self> {
        let run = RunFiles::of(&files.run(&cell.name));
        let is_there = |path: &std::path::Path| path.is_file();
        if is_there(&run.scores(Split::Test)) && is_there(&run.image_scores(Split::Test)) {
            return Ok(Self::Done);
        }
        if let Some(failure) = Failure::read(cell, files)? {
            return Ok(Self::Failed(failure));
        }
        // A summary that is cut off or of another version counts as none: training finds out.
        let summary = read_if_exists(&run.summary())?;
        let summary = summary.and_then(|text| serde_json::from_str::<Summary>(&text).ok());
        let is_trained = summary.is_some_and(|summary| summary.status == RunStatus::Finished);
        Ok(if is_trained { Self::ToScore } else { Self::ToTrain })
    }
}

impl Failure {
    fn read(cell: &Cell, files: &StudyFiles) -> Result<Option<Self>> {
        let text = read_if_exists(&files.failure(&cell.name))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Records it, so that the cell is not tried again until asked for.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, cell: &Cell, files: &StudyFiles) -> Result<()> {
        let path = files.failure(&cell.name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        atomic_write(&path, serde_json::to_string_pretty(self)?.as_bytes())
    }

    /// Forgets it: the cell is tried again.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn forget(cell: &Cell, files: &StudyFiles) -> Result<()> {
        match std::fs::remove_file(files.failure(&cell.name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
