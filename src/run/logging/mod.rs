//! What a run writes while it goes: the console, `metrics.jsonl`, TensorBoard, pictures.
//!
//! [`RunFolder`](sonotune_run_folder::RunFolder) owns the place, [`RunLogger`] everything written while the run goes. Losing a log
//! line is no reason to lose a run: once training has started, a full disk is warned of, not fatal.

mod console;
mod environment;
mod events;
mod guarded;
mod logger;
mod memory;
mod metrics_file;
pub mod pictures;
mod step;

pub(crate) use environment::device_label;
pub use environment::environment;
pub use logger::{LoggerOptions, RunLogger};
pub use memory::peak_memory;
pub use step::{StepTime, TrainRecord};
