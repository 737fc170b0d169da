//! The folder that holds everything of one run: its files by name, and the records in them.
//!
//! [`RunFiles`] names every file, [`RunFolder`] is the folder while a training writes to it.

mod environment;
mod evaluation;
mod files;
mod folder;
mod leftovers;
mod skipped;
mod summary;

pub use environment::Environment;
pub use evaluation::EvalRecord;
pub use files::EVENTS_PREFIX;
pub use files::{BEST, LAST, RunFiles, checkpoint_of_step, step_of_checkpoint};
pub use folder::{Existing, RunFolder, write_json};
pub use skipped::SkippedImage;
pub use summary::{BestModel, Faults, RunStatus, Summary};
