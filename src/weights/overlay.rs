//! Trained variables saved alone, for use on top of the weights that their run started from.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tch::Tensor;

use super::{WeightsFile, folder::locate, keymap::CONVENTION_KEY, open, save_safetensors};
use sonotune_base::Category;

use sonotune_base::Error;

/// Key of a `.safetensors` file's metadata that makes it an overlay.
const OVERLAY_KEY: &str = "sonotune.overlay";

/// What an overlay records about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverlayInfo {
    /// The weights that it belongs on top of.
    pub base: BaseFile,
    /// The `[backbone]` table of its run.
    pub backbone: Value,
    /// The `[task]` table of its run.
    pub task: Value,
    /// Categories in the order of class indices.
    pub categories: Vec<Category>,
    /// Optimiser steps that trained it.
    pub step: u64,
}

/// A file of weights, identified by its content; shards count as one file, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseFile {
    /// File name without the folder; that of the index, if there are shards.
    pub name: String,
    pub bytes: u64,
    /// Hash of the content, in hex.
    pub sha256: String,
}

impl BaseFile {
    /// Reads and hashes the whole file, or all shards. `path` is what [`open`] takes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let cannot =
            |e: &dyn Display| Error::weights(format!("cannot read {}: {e}", path.display()));
        let located = locate(path).map_err(|error| cannot(&format!("{error:#}")))?;
        let mut hasher = Sha256::new();
        let mut bytes = 0;
        for file in located.files() {
            bytes += feed(&mut hasher, &file).map_err(|error| cannot(&error))?;
        }
        let mut sha256 = String::with_capacity(64);
        for byte in hasher.finalize() {
            let _ = write!(sha256, "{byte:02x}");
        }
        let name = located.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, bytes, sha256 })
    }
}

/// Hashes a file; returns its size.
fn feed(hasher: &mut Sha256, path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// An open overlay.
#[derive(Debug)]
pub struct Overlay {
    pub(super) file: WeightsFile,
    info: OverlayInfo,
}

impl Overlay {
    /// # Errors
    /// When the file is not an overlay, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let shown = path.display();
        let text = file.metadata().get(OVERLAY_KEY).ok_or_else(|| {
            Error::weights(format!(
                "{shown} is not an overlay: `sonotune weights export RUN OUT --trained-only` \
                 writes one; a file with all of a model's weights goes into [weights] path"
            ))
        })?;
        let info = serde_json::from_str(text)
            .map_err(|e| Error::weights(format!("{shown}: its header is damaged: {e}")))?;
        Ok(Self { file, info })
    }

    #[must_use]
    pub fn info(&self) -> &OverlayInfo {
        &self.info
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whether the overlay holds a variable.
    #[must_use]
    pub fn has(&self, variable: &str) -> bool {
        self.file.entry(variable).is_some()
    }

    /// # Errors
    /// When the overlay was trained on top of another file than `base`.
    pub(super) fn check_base(&self, base: &Path) -> Result<()> {
        let (wanted, found) = (&self.info.base, BaseFile::of(base)?);
        if wanted.sha256 == found.sha256 {
            return Ok(());
        }
        Err(Error::weights(format!(
            "{} was trained on top of `{}` ({} bytes, SHA-256 {}), but [weights] path {} is another \
             file ({} bytes, SHA-256 {})",
            self.path().display(),
            wanted.name,
            wanted.bytes,
            wanted.sha256,
            base.display(),
            found.bytes,
            found.sha256
        ))
        .into())
    }

    /// Whether a backbone, by its `[backbone]` table, gives the overlay's values the meaning they were trained for; shapes do
    /// not tell the scale of LoRA or an adapter.
    ///
    /// # Errors
    /// Of kind config, naming the key that differs.
    pub fn check_backbone(&self, backbone: &Value) -> Result<()> {
        let key = |table: &Value, key: &str| table.get(key).cloned().unwrap_or(Value::Null);
        for name in ["type", "lora", "adapter"] {
            let (wanted, found) = (key(&self.info.backbone, name), key(backbone, name));
            if wanted != found {
                return Err(Error::config(format!(
                    "weights.overlay {} was trained with backbone.{name} = {wanted}, but this config \
                     has {found}",
                    self.path().display()
                ))
                .into());
            }
        }
        Ok(())
    }
}

/// Writes an overlay.
///
/// # Errors
/// When the file cannot be written.
pub fn save_overlay(path: &Path, tensors: &[(String, Tensor)], info: &OverlayInfo) -> Result<()> {
    let metadata = BTreeMap::from([
        (OVERLAY_KEY.to_owned(), serde_json::to_string(info)?),
        (CONVENTION_KEY.to_owned(), "sonotune".to_owned()),
        // Hugging Face's loaders require it.
        ("format".to_owned(), "pt".to_owned()),
    ]);
    save_safetensors(path, tensors, &metadata)
}

/// Refuses an overlay as the base of a model.
///
/// # Errors
/// If `file` is an overlay; names the base it needs.
pub(super) fn refuse_as_base(file: &WeightsFile) -> Result<()> {
    let Some(text) = file.metadata().get(OVERLAY_KEY) else { return Ok(()) };
    let base = serde_json::from_str::<OverlayInfo>(text)
        .map_or_else(|_| "the weights it was trained on".to_owned(), |info| info.base.name);
    Err(Error::weights(format!(
        "{} holds only what a run has trained: set weights.overlay to it, and weights.path to {base}",
        file.path().display()
    ))
    .into())
}

/// What a load took from an overlay.
#[derive(Debug, Clone, Serialize)]
pub struct OverlayReport {
    pub path: PathBuf,
    pub variables: usize,
    #[serde(flatten)]
    pub info: OverlayInfo,
}
