//! Decodes image files, to 8-bit pixels as OpenCV's `imread` does (but in RGB order), or at full depth.
//!
//! PNG, JPEG, BMP, TIFF and WebP, distinguished by their content, never by their name. PNG agrees with
//! OpenCV bit for bit. JPEG decoders differ by a few levels where chroma is upsampled and in the
//! last bit of the inverse DCT, as the standard allows.

mod cut_off;
mod header;
mod indices;
mod jpeg;
mod kind;
mod samples;
mod source;
mod stored;
mod tiff;

use std::{io::Read, path::Path};

use anyhow::{Context, Result};
use image::{DynamicImage, metadata::Orientation};

use crate::{Error, panics::catching};
pub use cut_off::check_header;
pub use header::{ExifTurn, Header, format_name, read_header};
pub use kind::other_kind;
pub use samples::{Samples, Values};
use source::Source;
pub use stored::{Peaks, Stored};

/// Largest file read into memory: well above any 8- or 16-bit image within the pixel limit.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// How to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Whether to apply the EXIF orientation.
    pub exif: bool,
    /// Images with more pixels are refused before any pixel is decoded.
    pub max_pixels: u64,
}

/// A decoded image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub height: u32,
    pub width: u32,
    /// 1 (grey, representing three equal channels) or 3 (RGB).
    pub channels: usize,
    /// `[H, W, C]`, row-major.
    pub pixels: Vec<u8>,
    /// Whether EXIF rotated it by 90° either way, so that height and width are swapped relative to the
    /// file.
    pub transposed: bool,
    pub stored: Stored,
}

impl Image {
    /// Keeps one channel if all three are equal throughout, as in most ultrasound stored as
    /// RGB: every later step works per channel, so a third of the work gives the same numbers.
    #[must_use]
    pub fn into_grey_if_equal(self) -> Self {
        let equal = |p: &[u8]| p[0] == p[1] && p[1] == p[2];
        // In chunks, so that the check is vectorised but still ends at the first coloured pixels.
        let is_grey = |chunk: &[u8]| chunk.chunks_exact(3).fold(true, |all, p| all & equal(p));
        if self.channels != 3 || !self.pixels.chunks(3 * 1024).all(is_grey) {
            return self;
        }
        let pixels = self.pixels.chunks_exact(3).map(|p| p[0]).collect();
        Self { channels: 1, pixels, ..self }
    }
}

/// Decodes the file at `path`. Alpha is dropped, not blended; 16-bit values keep their upper 8 bits;
/// palettes are looked up; grey stays one channel.
///
/// # Errors
/// Kind data, naming the file: missing, of unknown format, truncated, corrupt, too large, or with values
/// that 8 bits would not show.
/// Never panics, whatever the file holds.
pub fn decode_file(path: &Path, options: DecodeOptions) -> Result<Image> {
    let bytes = read_file(path)?;
    decode_bytes(&bytes, options)
        .map_err(|reason| Error::data(format!("image {}: {reason:#}", path.display())).into())
}

/// `(height, width)` of the file at `path`, from its header alone.
///
/// # Errors
/// Same errors as [`decode_file`].
pub fn read_size(path: &Path, options: DecodeOptions) -> Result<(u32, u32)> {
    read_turned(path, options).map(|(size, _)| size)
}

/// Same as [`read_size`], and whether EXIF swaps height and width.
fn read_turned(path: &Path, options: DecodeOptions) -> Result<((u32, u32), bool)> {
    let bytes = read_file(path)?;
    without_panic(|| {
        let mut source = Source::open(&bytes, options)?;
        let turned = options.exif && swaps_sides(source.orientation()?);
        Ok(turned_size(source.dimensions(), turned))
    })
    .map_err(|reason| Error::data(format!("image {}: {reason:#}", path.display())).into())
}

/// The bytes of the file at `path`.
///
/// # Errors
/// Kind data if it cannot be read, or is larger than any image within the limits; no kind if the
/// machine is at fault.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| cannot_read(path, e);
    let file = std::fs::File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(Error::data(format!(
            "image {}: the file has {length} bytes, the limit is {MAX_FILE_BYTES}",
            path.display()
        ))
        .into());
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn cannot_read(path: &Path, error: std::io::Error) -> anyhow::Error {
    let what = format!("image {}: cannot read", path.display());
    if is_of_machine(&error) {
        return anyhow::Error::new(error).context(what);
    }
    Error::data(format!("{what}: {error}")).into()
}

/// Whether memory or file handles ran out, so that the file need not be at fault.
fn is_of_machine(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let codes = [Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    Errno::from_io_error(error).is_some_and(|code| codes.contains(&code))
}

/// Decodes a file's `bytes`; see [`decode_file`].
///
/// # Errors
/// Same errors as [`decode_file`], without the file name.
pub fn decode_bytes(bytes: &[u8], options: DecodeOptions) -> Result<Image> {
    without_panic(|| {
        let source = Source::open(bytes, options)?;
        let pages = source.pages();
        let (samples, orientation) = source.samples(options, false)?;
        let Samples { height, width, channels, .. } = samples;
        let (pixels, peak) = samples.into_8bit()?;
        let stored = Stored { pages, peak };
        orient(Image { height, width, channels, pixels, transposed: false, stored }, orientation)
    })
}

/// Decodes a file's `bytes` at full depth, with the indices of a palette and the alpha channel.
///
/// # Errors
/// Same errors as [`decode_file`], without the file name.
pub fn decode_samples(bytes: &[u8], options: DecodeOptions) -> Result<Samples> {
    without_panic(|| {
        let source = Source::open(bytes, options)?;
        let (mut samples, orientation) = source.samples(options, true)?;
        if samples.index.is_none() {
            samples.index = indices::of(bytes)?;
        }
        Ok(samples.turned(orientation))
    })
}

/// Turns a panic into an error. Decoders may panic on hostile files, and one bad image must not end a
/// run without naming it.
fn without_panic<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catching(|| "corrupt: the decoder gave up".to_owned(), decode)
}

/// `(height, width)` as it will be decoded, and whether EXIF swaps them.
fn turned_size((width, height): (u32, u32), turned: bool) -> ((u32, u32), bool) {
    (if turned { (width, height) } else { (height, width) }, turned)
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn orient(image: Image, orientation: Orientation) -> Result<Image> {
    if orientation == Orientation::NoTransforms {
        return Ok(image);
    }
    let Image { height, width, channels, pixels, stored, .. } = image;
    let sized = "pixels fill the image";
    let mut dynamic: DynamicImage = if channels == 1 {
        image::GrayImage::from_raw(width, height, pixels).context(sized)?.into()
    } else {
        image::RgbImage::from_raw(width, height, pixels).context(sized)?.into()
    };
    dynamic.apply_orientation(orientation);
    Ok(Image {
        height: dynamic.height(),
        width: dynamic.width(),
        channels,
        pixels: dynamic.into_bytes(),
        transposed: swaps_sides(orientation),
        stored,
    })
}
