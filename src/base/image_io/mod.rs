//! Decodes image files to 8-bit pixels, as OpenCV's `imread` does (but in RGB order).
//!
//! PNG, JPEG, BMP, TIFF and WebP, distinguished by their content, never by their name. PNG agrees with
//! OpenCV bit for bit. JPEG decoders differ by a few levels where chroma is upsampled and in the
//! last bit of the inverse DCT, as the standard allows.

mod cut_off;
mod header;
mod jpeg;
mod pixels;

use std::{
    io::{BufRead, Cursor, Read, Seek},
    path::Path,
};

use anyhow::{Context, Result};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, metadata::Orientation};

pub use crate::image_io::cut_off::check_header;
pub use crate::image_io::header::{ExifTurn, Header, format_name, read_header};
use crate::{Error, panics::catching};

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
/// Kind data, naming the file: missing, of unknown format, truncated, corrupt, or too large.
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
        let mut decoder = open(&bytes, options)?;
        turned_size(&mut decoder, options)
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
        let mut decoder = open(bytes, options)?;
        let orientation =
            if options.exif { decoder.orientation()? } else { Orientation::NoTransforms };
        let (width, height) = decoder.dimensions();
        let color = decoder.color_type();
        let mut raw = vec![0; usize::try_from(decoder.total_bytes())?];
        decoder.read_image(&mut raw)?;
        let (channels, pixels) = pixels::to_8bit(raw, color)?;
        orient(Image { height, width, channels, pixels, transposed: false }, orientation)
    })
}

/// Turns a panic into an error. Decoders may panic on hostile files, and one bad image must not end a
/// run without naming it.
fn without_panic<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catching(|| "corrupt: the decoder gave up".to_owned(), decode)
}

fn open(bytes: &[u8], options: DecodeOptions) -> Result<impl ImageDecoder + '_> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    if known_format(&reader, bytes.is_empty())? == ImageFormat::Jpeg {
        jpeg::check_complete(bytes)?;
    }
    limited(reader, options)
}

fn known_format<R: BufRead + Seek>(reader: &ImageReader<R>, is_empty: bool) -> Result<ImageFormat> {
    reader.format().with_context(|| {
        let what = if is_empty { "the file is empty" } else { "not an image" };
        format!("{what} (supported: PNG, JPEG, BMP, TIFF and WebP, recognised by content)")
    })
}

/// A decoder that has read the header, within the limits.
fn limited<'a, R: BufRead + Seek + 'a>(
    mut reader: ImageReader<R>,
    options: DecodeOptions,
) -> Result<impl ImageDecoder + 'a> {
    let mut limits = Limits::no_limits();
    // 16-bit RGBA and the decoder's own buffers.
    limits.max_alloc = Some(options.max_pixels.saturating_mul(16).saturating_add(64 << 20));
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    anyhow::ensure!(pixels > 0, "it has no pixels ({height}x{width})");
    anyhow::ensure!(
        pixels <= options.max_pixels,
        "its header claims {height}x{width} = {pixels} pixels, the limit is {} (preprocess.max_pixels)",
        options.max_pixels
    );
    Ok(decoder)
}

/// `(height, width)` as it will be decoded, and whether EXIF swaps them.
fn turned_size(
    decoder: &mut impl ImageDecoder,
    options: DecodeOptions,
) -> Result<((u32, u32), bool)> {
    let (width, height) = decoder.dimensions();
    let turned = options.exif && swaps_sides(decoder.orientation()?);
    Ok((if turned { (width, height) } else { (height, width) }, turned))
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn orient(image: Image, orientation: Orientation) -> Result<Image> {
    if orientation == Orientation::NoTransforms {
        return Ok(image);
    }
    let Image { height, width, channels, pixels, .. } = image;
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
    })
}
