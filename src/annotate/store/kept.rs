//! Keeps beside the file what cannot go into it.

use std::path::PathBuf;

use anyhow::Result;
use sonotune_base::fs::{atomic_write, folder_of};

use super::Store;

/// Names that are tried at most.
const MAX_KEPT: usize = 10_000;

impl Store {
    /// Writes `bytes` to `NAME.kept-N.json`; the same thing again replaces its file.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(super) fn keep(&mut self, what: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = match self.kept.get(what) {
            Some(path) => path.clone(),
            None => self.free_name()?,
        };
        atomic_write(&path, bytes)?;
        self.kept.insert(what.to_owned(), path.clone());
        Ok(path)
    }

    fn free_name(&self) -> Result<PathBuf> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let name = |number: usize| folder_of(&self.path).join(format!("{stem}.kept-{number}.json"));
        let free = (1..MAX_KEPT).map(name).find(|path| !path.exists());
        free.ok_or_else(|| {
            anyhow::anyhow!("{}: there are too many kept files beside it", self.path.display())
        })
    }
}
