//! Models as files of other programs: TorchScript and ONNX, each checked against this program's own predictions
//! before it is kept, with a model card.
//!
//! ```text
//! task ─ parts ─► recorded graph ─┬─► TorchScript ─┐
//!                                 └─► ONNX ────────┴─► run by the user's Python, compared ─► files, card
//! ```
//!
//! The task says which functions of tensors make up its model ([`Task::parts`](sonotune_engine::task::Task::parts));
//! libtorch's tracer records them, and nothing here knows a plugin.

mod anylabeling;
mod card;
mod check;
mod compare;
mod export;
mod images;
mod layout;
mod onnx;
mod prepare;
mod python;
mod record;
mod recorded;
mod script;
mod whole;

pub use export::{ExportOptions, Format, export};
pub use onnx::{Precision, proto};
pub use record::{CheckRecord, ExportRecord, FileRecord, LossRecord};
