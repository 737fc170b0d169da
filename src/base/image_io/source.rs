//! An image file that is open for decoding.

use std::io::Cursor;

use anyhow::{Context, Result, ensure};
use image::{
    ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, codecs::tiff::TiffDecoder,
    metadata::Orientation,
};

use super::{DecodeOptions, jpeg, kind::other_kind, samples::Samples, tiff::Directory};

/// A file with a known size, of which no pixel has been decoded.
pub(super) struct Source<'a> {
    bytes: &'a [u8],
    format: ImageFormat,
    /// The first page of a TIFF.
    directory: Option<Directory>,
    /// None for a TIFF that the library cannot decode.
    decoder: Option<Box<dyn ImageDecoder + 'a>>,
}

/// The format of a file by its content.
pub(super) fn format(bytes: &[u8]) -> Option<ImageFormat> {
    use ImageFormat::{Bmp, Jpeg, Png, Tiff, WebP};
    if Directory::is_tiff(bytes) {
        return Some(Tiff);
    }
    let format = image::guess_format(bytes).ok()?;
    matches!(format, Png | Jpeg | Bmp | Tiff | WebP).then_some(format)
}

impl<'a> Source<'a> {
    pub(super) fn open(bytes: &'a [u8], options: DecodeOptions) -> Result<Self> {
        let limits = limits(options);
        let mut source = Self::sniff(bytes, limits.clone())?;
        if source.format == ImageFormat::Jpeg {
            jpeg::check_complete(bytes)?;
        }
        check_pixels(source.dimensions(), options)?;
        if let (Some(decoder), ImageFormat::Tiff) = (&mut source.decoder, source.format) {
            decoder.set_limits(limits)?;
        }
        Ok(source)
    }

    /// Opens a file of any size; `limits` are those of the decoder.
    pub(super) fn sniff(bytes: &'a [u8], limits: Limits) -> Result<Self> {
        let format = format(bytes).with_context(|| {
            let what = match other_kind(bytes) {
                Some(kind) => format!("not an image but {kind}"),
                None if bytes.is_empty() => "the file is empty".to_owned(),
                None => "not an image".to_owned(),
            };
            format!("{what} (supported: PNG, JPEG, BMP, TIFF and WebP, recognised by content)")
        })?;
        let cursor = Cursor::new(bytes);
        if format != ImageFormat::Tiff {
            let mut reader = ImageReader::with_format(cursor, format);
            reader.limits(limits);
            let decoder = reader.into_decoder().map_err(|error| explain(error, format))?;
            let decoder: Box<dyn ImageDecoder> = Box::new(decoder);
            return Ok(Self { bytes, format, directory: None, decoder: Some(decoder) });
        }
        let directory = Directory::read(bytes)?;
        let decoder = TiffDecoder::new(cursor).ok();
        let decoder = decoder.map(|decoder| Box::new(decoder) as Box<dyn ImageDecoder>);
        if decoder.is_none() {
            directory.dimensions()?;
        }
        Ok(Self { bytes, format, directory: Some(directory), decoder })
    }

    /// `(width, height)`.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        let tiff = || self.directory.as_ref().and_then(|tiff| tiff.dimensions().ok());
        let known = self.decoder.as_ref().map(|decoder| decoder.dimensions());
        known.or_else(tiff).unwrap_or_default()
    }

    pub(super) fn orientation(&mut self) -> Result<Orientation> {
        if let Some(decoder) = &mut self.decoder {
            return Ok(decoder.orientation()?);
        }
        let turn = self.directory.as_ref().map_or(1, Directory::orientation);
        Ok(Orientation::from_exif(turn).unwrap_or(Orientation::NoTransforms))
    }

    /// Channels and bits of one channel as stored, alpha and palettes included.
    pub(super) fn depth(&self) -> (u8, u8) {
        match (&self.decoder, &self.directory) {
            (Some(decoder), _) => {
                let color = decoder.original_color_type();
                let channels = color.channel_count().max(1);
                (channels, (color.bits_per_pixel() / u16::from(channels)) as u8)
            }
            (None, Some(tiff)) => (tiff.channels(), tiff.bits()),
            (None, None) => (1, 8),
        }
    }

    /// Number of images in the file.
    pub(super) fn pages(&self) -> u32 {
        match (&self.directory, self.format) {
            (Some(tiff), _) => tiff.pages,
            (None, ImageFormat::Png) => frames_of_png(self.bytes).unwrap_or(1).max(1),
            (None, ImageFormat::WebP) => frames_of_webp(self.bytes).max(1),
            (None, _) => 1,
        }
    }

    /// All values, as stored, and the orientation to apply if the options ask for it.
    pub(super) fn samples(
        mut self,
        options: DecodeOptions,
        with_alpha: bool,
    ) -> Result<(Samples, Orientation)> {
        let orientation =
            if options.exif { self.orientation()? } else { Orientation::NoTransforms };
        let samples = match (self.decoder, &self.directory) {
            (Some(decoder), tiff) => {
                let (size, color) = (decoder.dimensions(), decoder.color_type());
                let mut raw = vec![0; usize::try_from(decoder.total_bytes())?];
                decoder.read_image(&mut raw).map_err(|error| match (error, tiff) {
                    (ImageError::Unsupported(_), Some(tiff)) => anyhow::Error::msg(tiff.refusal()),
                    (error, _) => explain(error, self.format),
                })?;
                let mut samples = Samples::from_raw(size, raw, color, with_alpha)?;
                samples.is_lossy = match (self.format, tiff) {
                    (ImageFormat::Jpeg, _) => true,
                    (ImageFormat::WebP, _) => self.bytes.windows(4).take(64).any(|c| c == b"VP8 "),
                    (_, tiff) => tiff.as_ref().is_some_and(Directory::is_lossy),
                };
                samples
            }
            (None, Some(tiff)) => tiff.decode(self.bytes, max_bytes(options))?,
            (None, None) => anyhow::bail!("no decoder"),
        };
        Ok((samples, orientation))
    }
}

/// Frames of an animated PNG, which says so before its first pixels.
fn frames_of_png(bytes: &[u8]) -> Option<u32> {
    const MOST_BEFORE: usize = 1 << 16;
    let head = &bytes[..bytes.len().min(MOST_BEFORE)];
    let mut chunks = head.windows(4).take_while(|name| *name != b"IDAT");
    let at = chunks.position(|name| name == b"acTL")?;
    Some(u32::from_be_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?))
}

/// Frames of an animated WebP.
fn frames_of_webp(bytes: &[u8]) -> u32 {
    let (mut at, mut frames) = (12_usize, 0);
    while let Some(&[a, b, c, d, l0, l1, l2, l3]) = bytes.get(at..at.saturating_add(8)) {
        frames += u32::from([a, b, c, d] == *b"ANMF");
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        at = at.saturating_add(8).saturating_add(length).saturating_add(length % 2);
    }
    frames
}

/// # Errors
/// If the size is zero or above the limit.
pub(super) fn check_pixels((width, height): (u32, u32), options: DecodeOptions) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    ensure!(pixels > 0, "it has no pixels ({height}x{width})");
    ensure!(
        pixels <= options.max_pixels,
        "its header claims {height}x{width} = {pixels} pixels, the limit is {} (preprocess.max_pixels)",
        options.max_pixels
    );
    Ok(())
}

pub(super) fn limits(options: DecodeOptions) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_bytes(options));
    limits
}

/// 16-bit RGBA and the decoder's own buffers.
fn max_bytes(options: DecodeOptions) -> u64 {
    options.max_pixels.saturating_mul(16).saturating_add(64 << 20)
}

/// The library's error, in words if the kind of image is not supported.
fn explain(error: ImageError, format: ImageFormat) -> anyhow::Error {
    let ImageError::Unsupported(_) = error else { return error.into() };
    let name = super::header::name(format).unwrap_or("image");
    anyhow::anyhow!("this kind of {name} cannot be read; save it as a PNG with 8 bits per channel")
}
