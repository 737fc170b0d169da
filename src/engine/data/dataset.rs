//! A split of a dataset: records, not pixels.

use std::{fmt::Debug, path::PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{ImageId, Segmentation};

/// Which part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Val,
    Test,
}

/// The `[dataset]` table of a config.
#[typetag::serde(tag = "type")]
pub trait DatasetConfig: Debug + Send + Sync {
    /// Opens one split: reads annotations, not pixels.
    ///
    /// # Errors
    /// When files are absent, malformed or contradict each other; names file and entry.
    fn open(&self, split: Split) -> Result<Dataset>;
}

/// One split, opened.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// In the order of class indices.
    pub categories: Vec<Category>,
    pub records: Vec<Record>,
    /// The file or folder the records come from, for messages.
    pub source: PathBuf,
    /// SHA-256 of the annotation file, in hex; recorded with every score.
    pub source_sha256: Option<String>,
}

/// A class of objects or images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Id in the annotation file, for output that goes back there.
    pub id: i64,
    pub name: String,
}

/// One image with its annotation.
#[derive(Debug, Clone)]
pub struct Record {
    pub image_id: ImageId,
    /// Absolute, or relative to the working directory.
    pub path: PathBuf,
    /// `(height, width)` as the annotation claims it; checked against the file when decoded.
    pub size: Option<(u32, u32)>,
    /// Category indices of the image as a whole, ascending, without repeats.
    pub image_labels: Vec<u32>,
    pub objects: Vec<Object>,
}

/// One annotated object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Index into [`Dataset::categories`].
    pub category: u32,
    /// XYWH, original pixels.
    pub bbox: [f64; 4],
    /// As the file gives it, in original pixels; metrics by object size go by it.
    pub area: f64,
    pub is_crowd: bool,
    pub segmentation: Segmentation,
}
