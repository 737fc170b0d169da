//! What both the engine and the conversion of raw datasets stand on: errors and their exit codes,
//! files that survive a crash, random streams, masks, decoded images, and an inert reader of
//! pickles. It knows neither libtorch nor a command line.

pub mod error;
pub mod fs;
pub mod id;
pub mod image_io;
pub mod masks;
pub mod names;
pub mod pattern;
pub mod pickle;
pub mod seed;
pub mod stop;
mod storage;

pub use error::{Error, ErrorKind};
pub use id::ImageId;
pub use masks::{Rle, Segmentation};
