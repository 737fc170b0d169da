//! The basis of both the engine and the conversion of raw datasets: errors and their exit codes,
//! files that survive a crash, random streams, masks, decoded images, a safe reader of
//! pickles, and the words of messages. It does not depend on libtorch or a command line.

mod category;
mod crop;
pub mod error;
pub mod file_kind;
pub mod fs;
pub mod id;
pub mod image_io;
pub mod json;
pub mod launch;
pub mod masks;
pub mod names;
pub mod panics;
pub mod pattern;
pub mod pickle;
pub mod seed;
pub mod signals;
pub mod stop;
mod storage;
pub mod unicode;
pub mod words;

pub use category::Category;
pub use crop::Crop;
pub use error::{Error, ErrorKind};
pub use file_kind::FileKind;
pub use id::ImageId;
pub use masks::{Rle, Segmentation};

/// `(height, width)` in pixels.
pub type Size = (i64, i64);
