//! From annotation files to records, and from pixels to what a network is shown; no libtorch.
//!
//! A [`DatasetConfig`] opens annotations ([`coco_dataset`], image folders, list files) into
//! [`Record`]s; [`transforms`] resizes, augments, normalises and pads images as the reference does.
//! [`coco`] is the one reader of COCO files, for training, scoring and tools.

pub mod coco;
pub mod coco_dataset;
mod counts;
mod crop;
pub mod dataset;
pub mod exports;
pub mod field_of_view;
pub mod files;
pub mod findings;
pub mod image_folder;
pub mod image_names;
mod input;
pub mod list_file;
mod mirror;
pub mod pixels;
pub mod prompt_file;
pub mod prompts;
pub mod shares;
mod text;
pub mod transforms;
mod unannotated;

use sha2::{Digest, Sha256};

pub use self::{
    counts::{CategoryStatistics, Statistics},
    dataset::{Dataset, DatasetConfig, Object, Record, Split, missing_split},
    input::InputSpec,
    prompt_file::{PromptFile, PromptedImage, PromptedObject},
    prompts::{ImagePrompts, ObjectPrompt, PointPrompt},
    transforms::TargetNeeds,
    unannotated::FrameChoice,
};

/// SHA-256 of an annotation file's bytes, hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
