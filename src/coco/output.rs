//! Checks output paths: never overwrite an input, and other files only on request.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sonotune_base::Error;
pub use sonotune_base::fs::folder_of;

/// Creates the folders of `outputs`, unless one of the outputs is an input, or exists and
/// `overwrite` is not set.
///
/// # Errors
/// In those cases, and if a folder cannot be created.
pub fn prepare(outputs: &[PathBuf], inputs: &[&Path], overwrite: bool) -> Result<()> {
    for output in outputs {
        if inputs.iter().any(|input| is_same(input, output)) {
            let message = format!("{} is an input: choose another output", output.display());
            return Err(Error::config(message).into());
        }
        if output.is_dir() {
            let message = format!("{} is a folder: pass a file name", output.display());
            return Err(Error::config(message).into());
        }
        if output.exists() && !overwrite {
            let message = format!("{} exists: pass --overwrite to replace it", output.display());
            return Err(Error::config(message).into());
        }
    }
    for output in outputs {
        let folder = folder_of(output);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    Ok(())
}

/// Removes those of `files` that exist.
///
/// # Errors
/// If one cannot be removed; the message names it.
pub fn remove(files: &[PathBuf]) -> Result<()> {
    for file in files.iter().filter(|file| file.exists()) {
        std::fs::remove_file(file).with_context(|| format!("cannot replace {}", file.display()))?;
    }
    Ok(())
}

/// Whether two paths name the same file, after following links.
fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
