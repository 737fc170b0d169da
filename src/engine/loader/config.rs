//! The `[loader]` table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loader]`: how images are loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Images per forward pass, in all: several processes (docs/scale-out.md#one-meaning-of-a-config) divide
    /// them, and there cannot be more processes than images.
    pub batch_size: usize,
    /// Threads that decode and transform, at most 1024; 0: one per core, at most 8.
    pub num_workers: usize,
    /// Batches prepared ahead; each takes memory.
    pub prefetch_batches: usize,
    /// A new order each epoch in training.
    pub shuffle: bool,
    /// What to do about an image that is missing, damaged, hostile, or does not fit its annotation. `fail`: the
    /// run ends and names it. `skip`: training replaces it by another, evaluation leaves it out, and it is listed
    /// in `skipped.json`; see docs/reliability.md#bad-images. `predict` always continues and lists its failures.
    /// Not together with `[embedding_cache]`.
    pub bad_images: BadImages,
    /// How many distinct images of a split `skip` may skip. A few damaged files are an accident; more suggest a
    /// wrong folder or wrong annotations, and the run would no longer train on the dataset you meant.
    pub max_bad_images: usize,
}

/// What to do with an image that is missing, damaged, hostile, or does not fit its annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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
