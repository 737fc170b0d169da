//! `….index.json`: which of several files holds each tensor of one state dict.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use sonotune_base::words::listed;

use super::hub::is_below;

/// An index of a hundred thousand tensors has about 10 MB.
const MAX_BYTES: u64 = 64 << 20;
const SHOWN: usize = 6;

/// An index, read; its shards are there.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) path: PathBuf,
    /// Names of the shards, by the names of the tensors they hold.
    shards: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Written {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::metadata(path).context("cannot open it")?.len();
        ensure!(bytes <= MAX_BYTES, "an index of {bytes} bytes; expected at most {MAX_BYTES}");
        let text = fs::read(path).context("cannot open it")?;
        let Written { weight_map: shards } = serde_json::from_slice(&text)
            .context("expected an index of shards: {\"weight_map\": {TENSOR: FILE, …}}")?;
        ensure!(!shards.is_empty(), "its weight_map names no tensor");
        let index = Self { path: path.to_owned(), shards };
        index.check_files()?;
        Ok(index)
    }

    /// The shards, each once, sorted by name.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.names().into_iter().map(|name| self.folder().join(name)).collect()
    }

    fn names(&self) -> BTreeSet<&str> {
        self.shards.values().map(String::as_str).collect()
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Refuses names that lead elsewhere, and shards that are not there.
    fn check_files(&self) -> Result<()> {
        let names = self.names();
        let is_name = |name: &str| is_below(Path::new(name)) && !name.contains(['/', '\\', '\0']);
        if let Some(bad) = names.iter().find(|name| !is_name(name)) {
            bail!("its weight_map names {bad:?}: expected the name of a file in the same folder");
        }
        let missing: Vec<_> =
            names.iter().filter(|name| !self.folder().join(name).is_file()).collect();
        ensure!(
            missing.is_empty(),
            "{} of its {} shards are not in {}: {}; download them again",
            missing.len(),
            names.len(),
            self.folder().display(),
            listed(missing.iter(), SHOWN)
        );
        Ok(())
    }

    /// Refuses shards that do not hold what the index says.
    pub(crate) fn check(&self, shard: &Path, holds: impl Fn(&str) -> bool) -> Result<()> {
        let name = shard.file_name().unwrap_or_default().to_string_lossy();
        let absent: Vec<_> = self
            .shards
            .iter()
            .filter(|(tensor, file)| **file == name && !holds(tensor))
            .map(|(tensor, _)| tensor)
            .collect();
        ensure!(
            absent.is_empty(),
            "{name} lacks {} that {} says it holds: {}; the files are not of one model, or cut off",
            sonotune_base::words::counted(absent.len() as u64, "tensor"),
            self.path.display(),
            listed(absent.iter(), SHOWN)
        );
        Ok(())
    }
}
