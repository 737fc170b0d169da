//! The files of a first config, written whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sonotune_base::{Error, fs::atomic_write, words::listed};

use crate::{
    Request,
    dataset::{Contents, Data},
};

/// Name of the config in the output folder.
pub(crate) const CONFIG: &str = "config.toml";

/// Everything that may be written there.
const NAMES: [&str; 7] = [
    "train.txt",
    "val.txt",
    "test.txt",
    "annotations/train.json",
    "annotations/val.json",
    "annotations/test.json",
    CONFIG,
];

/// Refuses an output folder that holds a config already, or is inside the data.
///
/// # Errors
/// Kind config.
pub(crate) fn check(request: &Request) -> Result<()> {
    let out = &request.out;
    if out.exists() && !out.is_dir() {
        return Err(
            Error::config(format!("--out {}: is a file; give a folder", out.display())).into()
        );
    }
    if let Ok(data) = request.data.canonicalize()
        && data.is_dir()
        && resolved(out)?.starts_with(&data)
    {
        return Err(Error::config(format!(
            "the output folder {} is inside the data, {}, so that its files would be taken for data; choose another with \
             --out",
            out.display(),
            request.data.display()
        ))
        .into());
    }
    let there: Vec<String> = NAMES
        .iter()
        .map(|name| out.join(name))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    if !there.is_empty() && !request.overwrite {
        return Err(Error::config(format!(
            "{} is there already; --overwrite replaces it, or choose another folder with --out",
            listed(&there, 2)
        ))
        .into());
    }
    Ok(())
}

/// The place of a folder that need not exist, with links followed as far as it does.
fn resolved(path: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(path).with_context(|| Error::config(path.display().to_string()))?;
    let found = absolute.ancestors().find_map(|folder| {
        let rest = absolute.strip_prefix(folder).ok()?;
        Some(folder.canonicalize().ok()?.join(rest))
    });
    Ok(found.unwrap_or(absolute))
}

/// Writes the files of `data`, then the config; returns their paths.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn write(request: &Request, data: &Data, config: &str) -> Result<Vec<PathBuf>> {
    let out = &request.out;
    // The config names the others: without it, they are nobody's.
    for name in NAMES.iter().rev() {
        let path = out.join(name);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    let mut files = Vec::new();
    for (name, contents) in &data.files {
        let path = out.join(name);
        make(sonotune_base::fs::folder_of(&path))?;
        match contents {
            Contents::Text(text) => atomic_write(&path, text.as_bytes())?,
            Contents::Coco { file, keeps } => file.write_selected(&path, |i| keeps[i])?,
        }
        files.push(path);
    }
    make(out)?;
    let path = out.join(CONFIG);
    atomic_write(&path, config.as_bytes())?;
    files.push(path);
    Ok(files)
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| {
        Error::config(format!("--out: cannot make {}: {error}", folder.display())).into()
    })
}
