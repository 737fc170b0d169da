//! Where results may go: never over an input, over other files only when told to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base::Error;

/// Folder of a file.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the folders of `outputs`, unless one of those is an input, or exists and `overwrite` is
/// not set.
///
/// # Errors
/// In those cases, and when a folder cannot be made.
pub fn prepare(outputs: &[PathBuf], inputs: &[&Path], overwrite: bool) -> Result<()> {
    for output in outputs {
        if inputs.iter().any(|input| is_same(input, output)) {
            let message = format!("{} is an input: write elsewhere", output.display());
            return Err(Error::config(message).into());
        }
        if output.is_dir() {
            let message = format!("{} is a folder: name a file", output.display());
            return Err(Error::config(message).into());
        }
        if output.exists() && !overwrite {
            let message = format!("{} exists: --overwrite replaces it", output.display());
            return Err(Error::config(message).into());
        }
    }
    for output in outputs {
        let folder = folder_of(output);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    Ok(())
}

/// Removes those of `files` that exist.
///
/// # Errors
/// When one cannot be removed; names it.
pub fn remove(files: &[PathBuf]) -> Result<()> {
    for file in files.iter().filter(|file| file.exists()) {
        std::fs::remove_file(file).with_context(|| format!("cannot replace {}", file.display()))?;
    }
    Ok(())
}

/// Whether two paths name one file, links followed.
fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
