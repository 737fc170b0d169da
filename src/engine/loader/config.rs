//! The `[loader]` table.

use serde::{Deserialize, Serialize};

/// `[loader]`: how images come off the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Images of one forward pass.
    pub batch_size: usize,
    /// Worker threads; 0: one per core, at most 8.
    pub num_workers: usize,
    /// Batches prepared ahead.
    pub prefetch_batches: usize,
    /// A new order each epoch in training.
    pub shuffle: bool,
    /// What to do about an image that cannot be used.
    pub bad_images: BadImages,
    /// Distinct images of a split that may be skipped. A few damaged files are an accident; more are
    /// a sign that the folder or the annotations are the wrong ones, and the data set is not the one
    /// that was meant.
    pub max_bad_images: usize,
}

/// What to do about an image that is missing, damaged, hostile, or does not fit its annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadImages {
    /// The run ends and names it.
    #[default]
    Fail,
    /// Training puts another in its place, evaluation leaves it out; it is listed.
    Skip,
}

impl LoaderConfig {
    /// Tens of thousands of threads end a process without a word: the system runs out of maps of
    /// memory within a thread's start, where nothing can be told.
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
