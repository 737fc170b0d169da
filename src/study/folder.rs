//! The name of every file of a study.

use std::path::{Path, PathBuf};

/// The files of the study in a folder, whether or not they exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyFiles(PathBuf);

impl StudyFiles {
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The study's file, defaults written out.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("study.toml")
    }

    /// Locked while a study runs.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("study.lock")
    }

    #[must_use]
    pub fn folds(&self) -> PathBuf {
        self.0.join("folds")
    }

    /// The config of a cell.
    #[must_use]
    pub fn cell(&self, name: &str) -> PathBuf {
        self.0.join("cells").join(format!("{name}.toml"))
    }

    /// The run folder of a cell.
    #[must_use]
    pub fn run(&self, name: &str) -> PathBuf {
        self.0.join("runs").join(name)
    }

    /// What the commands of a cell printed.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// Why a cell failed.
    #[must_use]
    pub fn failure(&self, name: &str) -> PathBuf {
        self.0.join("failures").join(format!("{name}.json"))
    }

    /// The answer, for programs.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.0.join("study.json")
    }

    /// The answer on one page.
    #[must_use]
    pub fn page(&self) -> PathBuf {
        self.0.join("study.html")
    }

    /// A table of the answer, e.g. `ranking.md`.
    #[must_use]
    pub fn table(&self, name: &str) -> PathBuf {
        self.0.join("tables").join(name)
    }
}
