//! The `[loader]` table.

use serde::{Deserialize, Serialize};

/// `[loader]`: how images are loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Images of one forward pass.
    pub batch_size: usize,
    /// Worker threads; 0: one per core, at most 8.
    pub num_workers: usize,
    /// Batches prepared ahead.
    pub prefetch_batches: usize,
    /// Shuffles the training images anew every epoch.
    pub shuffle: bool,
    /// What to do with an image that cannot be used.
    pub bad_images: BadImages,
    /// Distinct images of a split that may be skipped. A few damaged files are an accident; more are a
    /// sign that the folder or the annotations are not the intended ones.
    pub max_bad_images: usize,
}

/// What to do with an image that is missing, damaged, hostile, or does not fit its annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadImages {
    /// The run ends with an error that names it.
    #[default]
    Fail,
    /// Training replaces it with another, evaluation leaves it out; it is listed.
    Skip,
}

impl LoaderConfig {
    /// With tens of thousands of threads the process dies without an error message: the system runs out
    /// of memory maps while a thread starts, where no error can be reported.
    pub const MOST_WORKERS: usize = 1024;
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch_size: 8,
            num_workers: 0,
            prefetch_batches: 4,
            shuffle: true,
            bad_images: BadImages::Fail,
            max_bad_images: 10,
        }
    }
}
