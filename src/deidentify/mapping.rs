//! Which original is which pseudonym, if the user asks for it.

use std::{
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Serialize;
use sonotune_base::{
    Error,
    fs::{atomic_write, explain},
};

/// A line of the mapping.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) original: PathBuf,
    pub(crate) patient_id: String,
    pub(crate) pseudonym: String,
    pub(crate) file: String,
    /// Dates of the file are this many days earlier than in the original.
    pub(crate) days_earlier: u64,
}

/// # Errors
/// A config error if `path` exists and `overwrite` is false.
pub(crate) fn check(path: &Path, overwrite: bool) -> Result<()> {
    if path.exists() && !overwrite {
        return Err(Error::config(format!(
            "--mapping {}: the file exists; choose another one, or replace it with --overwrite",
            path.display()
        ))
        .into());
    }
    Ok(())
}

/// Writes the mapping as CSV that only its owner can read.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(path: &Path, lines: &[Line]) -> Result<()> {
    let mut csv = csv::Writer::from_writer(vec![]);
    for line in lines {
        csv.serialize(line)?;
    }
    atomic_write(path, &csv.into_inner()?)?;
    private(path)
}

/// Makes a file readable by its owner alone.
///
/// # Errors
/// If the system refuses.
pub(crate) fn private(path: &Path) -> Result<()> {
    let restrict = || File::open(path)?.set_permissions(Permissions::from_mode(0o600));
    restrict().map_err(|e| explain(path, e))
}
