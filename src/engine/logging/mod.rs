//! What a run leaves behind: its folder, the console, `metrics.jsonl`, TensorBoard, pictures.
//!
//! [`RunFolder`] owns the place, [`RunLogger`] everything written while the run goes. Losing a log
//! line is no reason to lose a run: once training has started, a full disk is warned of, not fatal.

mod console;
mod environment;
mod events;
mod guarded;
mod leftovers;
mod logger;
mod memory;
mod metrics_file;
pub mod pictures;
mod run_folder;
mod summary;
pub mod table;

pub use environment::Environment;
pub use logger::{LoggerOptions, RunLogger, StepTime, TrainRecord};
pub use memory::peak_memory;
pub use run_folder::{Existing, RunFolder};
pub(crate) use run_folder::{REPORT, REPORT_FOLDER};
pub use summary::{BestModel, Faults, RunStatus, Summary};
