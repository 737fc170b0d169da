//! Reads the header of an image file without its pixels.

use anyhow::{Context, Result};
use image::{ImageFormat, Limits, metadata::Orientation};

use super::{
    source::{Source, format},
    swaps_sides, without_panic,
};

/// A file's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `PNG`, `JPEG`, `BMP`, `TIFF` or `WebP`.
    pub format: &'static str,
    /// As stored, whatever EXIF says.
    pub height: u32,
    pub width: u32,
    /// As stored, alpha and palettes included.
    pub channels: u8,
    /// Bits of one channel as stored; for palettes, bits of a pixel's index.
    pub bits_per_channel: u8,
    /// Orientation according to EXIF.
    pub orientation: ExifTurn,
    /// Number of images in the file, of which the first is decoded: pages of a TIFF, frames of an animation.
    pub pages: u32,
}

/// An EXIF orientation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExifTurn {
    /// No orientation stored, or upright.
    Upright,
    /// Mirrored or upside down; height and width are unchanged.
    Mirrored,
    /// Rotated by 90° either way, possibly mirrored; height and width are swapped.
    Quarter,
}

impl ExifTurn {
    /// How EXIF shows the stored image, as part of a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Upright => "upright",
            Self::Mirrored => "mirrored or upside down",
            Self::Quarter => "rotated by 90 degrees",
        }
    }
}

/// The format of a file by its content; `None` if it is not supported.
#[must_use]
pub fn format_name(bytes: &[u8]) -> Option<&'static str> {
    name(format(bytes)?)
}

pub(super) fn name(format: ImageFormat) -> Option<&'static str> {
    Some(match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::WebP => "WebP",
        _ => return None,
    })
}

/// Reads the header of a file's `bytes`.
///
/// # Errors
/// If it is not an image of a supported format. Never panics, whatever the file holds.
pub fn read_header(bytes: &[u8]) -> Result<Header> {
    without_panic(|| {
        let format = format_name(bytes).context("not an image in a supported format")?;
        let mut source = Source::sniff(bytes, Limits::default())?;
        let (width, height) = source.dimensions();
        let orientation = match source.orientation()? {
            Orientation::NoTransforms => ExifTurn::Upright,
            turn if swaps_sides(turn) => ExifTurn::Quarter,
            _ => ExifTurn::Mirrored,
        };
        let (channels, bits_per_channel) = source.depth();
        let pages = source.pages();
        Ok(Header { format, height, width, channels, bits_per_channel, orientation, pages })
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_header_of_what_was_written() {
        let image = image::ImageBuffer::<image::Rgb<u16>, _>::new(7, 5);
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        let expected = Header {
            format: "PNG",
            height: 5,
            width: 7,
            channels: 3,
            bits_per_channel: 16,
            orientation: ExifTurn::Upright,
            pages: 1,
        };
        assert_eq!(read_header(&bytes).unwrap(), expected);
        assert!(read_header(b"no image").is_err() && read_header(&bytes[..20]).is_err());
        assert_eq!((format_name(b"no image"), format_name(b"GIF89a")), (None, None));
    }
}
