//! Pretrained weights: `.pth` and `.safetensors` files, whoever wrote them, into a model's
//! variables and back.
//!
//! [`open`] lists what a file, a folder or the Hugging Face cache holds; [`keymap`] translates its names; [`load()`] fills a model and
//! reports what it did; [`save_safetensors`] and [`save_torch`] write. Nothing that a file holds is
//! ever executed, and no malformed file causes a panic, endless recursion or more memory use than its
//! own size suggests.

mod additions;
mod advice;
mod allow;
mod bytes;
mod config;
mod convert;
mod dtype;
mod entry;
mod file;
mod finite;
mod folder;
mod inspect;
pub mod keymap;
mod load;
mod overlay;
mod parts;
use sonotune_base::pickle;
mod plan;
mod report;
mod resize;
mod safetensors;
mod torch;
mod words;

pub use additions::addition;
pub use bytes::bytes;
pub use config::{WeightsConfig, WeightsPartConfig};
pub use convert::{ConvertOptions, ConvertReport, convert};
pub use dtype::Dtype;
pub use entry::{Span, TensorEntry};
pub use file::{Container, WeightsFile, open, open_state_dict};
pub use finite::not_finite;
pub use folder::{check_present, may_hold_weights};
pub use inspect::Inspection;
pub use load::{load, load_file, shapes};
pub use overlay::{BaseFile, Overlay, OverlayInfo, OverlayReport, save_overlay};
pub use parts::is_claimed;
pub use report::{Cast, LoadReport, Loaded, Misshapen, Missing, Resized, Unplaced};
pub use safetensors::safetensors_len;
pub use safetensors::save_safetensors;
pub use torch::{OtherContent, save_torch};
