//! From files on disk to batches on a device.
//!
//! [`dataset`] opens annotations ([`coco`], image folders, list files) into [`Record`]s;
//! [`image_io`] decodes pixels; [`transforms`] resizes, augments, normalises and pads them as the
//! reference does; [`loader`] runs that in worker threads. [`phantom`] makes data of its own.

pub mod check;
pub mod coco;
pub mod dataset;
pub(crate) mod files;
pub mod image_folder;
mod input;
pub mod list_file;
pub mod phantom;
pub mod prompt_file;
pub mod prompts;
pub mod statistics;
pub mod transforms;

pub(crate) use base::names;
pub use base::{Category, ImageId, Rle, Segmentation, image_io, masks};
pub use dataset::{Dataset, DatasetConfig, Object, Record, Split, missing_split, sha256};
pub use input::InputSpec;

pub use prompt_file::{PromptFile, PromptedImage, PromptedObject};
pub use prompts::{ImagePrompts, ObjectPrompt, PointPrompt};
pub use statistics::{CategoryStatistics, Statistics};
pub use transforms::TargetNeeds;
