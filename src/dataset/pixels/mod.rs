//! The one place that reads the pixels of a record, whatever its file is: an image, a DICOM file, a clip.
//!
//! Files are told apart by content. An ordinary image is decoded as [`sonotune_base::image_io`] does, bit for
//! bit, and its frame means nothing. DICOM files and clips (videos and GIFs) have frames, counted from 0; a
//! file with several needs to be told which.

mod image_file;
mod kind;
mod opened;
mod player;
mod reader;

use std::path::Path;

use anyhow::Result;
use sonotune_base::image_io::{DecodeOptions, Image};

pub use image_file::ImageFile;
pub(crate) use kind::has_ending;
pub use kind::{IMAGE_EXTENSIONS, Kind, has_image_ending};
pub(crate) use opened::several;
pub use reader::Reader;

/// Decodes an image, or the frame `frame` of a clip or DICOM file. A [`Reader`] is faster for many frames.
///
/// # Errors
/// Kind data, naming the file: as of [`sonotune_base::image_io::decode_file`]; a file of several frames without
/// `frame`; a frame that the file does not have.
pub fn decode(path: &Path, frame: Option<u32>, options: DecodeOptions) -> Result<Image> {
    Reader::default().decode(path, frame, options)
}

/// `(height, width)` of an image or a frame, from its header if that tells.
///
/// # Errors
/// Same errors as [`decode`].
pub fn read_size(path: &Path, frame: Option<u32>, options: DecodeOptions) -> Result<(u32, u32)> {
    Reader::default().read_size(path, frame, options)
}

/// Number of frames of a clip or DICOM file; `None` for an ordinary image, of which the first page counts.
///
/// # Errors
/// Kind data if the file cannot be read, or is damaged as far as its headers tell.
pub fn num_frames(path: &Path) -> Result<Option<u32>> {
    Reader::default().num_frames(path)
}

#[cfg(test)]
mod tests;
