//! Pictures as PNG files.

use std::path::Path;

use anyhow::Result;
use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs::png::PngEncoder};
use sonotune_base::fs::atomic_write_with;

/// Writes `picture` to `path` as PNG; at any moment the file is the old one or the complete new one.
///
/// # Errors
/// When the picture has no pixels or the file cannot be written.
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<()> {
    atomic_write_with(path, |out| {
        let (width, height) = picture.dimensions();
        PngEncoder::new(out)
            .write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8)
            .map_err(std::io::Error::other)
    })
}
