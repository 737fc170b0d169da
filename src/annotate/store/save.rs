//! Writes the file.

use anyhow::{Context, Result};
use sonotune_base::fs::atomic_write;

use super::{Store, outside::Stamp};

impl Store {
    /// Writes the whole file: to a temporary name, synced and renamed.
    ///
    /// # Errors
    /// Errors of the disk; the file is as before.
    pub(super) fn save(&mut self) -> Result<()> {
        let bytes = self.document.to_bytes();
        atomic_write(&self.path, &bytes)?;
        let about = std::fs::metadata(&self.path).with_context(|| {
            format!("{} is gone right after it was written", self.path.display())
        })?;
        self.stamp = Some(Stamp::of(&bytes, &about));
        Ok(())
    }
}
