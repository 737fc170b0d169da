//! TIFFs beyond what the library for images reads: BigTIFF, palettes, grey with alpha, YCbCr, floats and
//! integers of 32 bits. Other kinds are refused in words.

mod directory;

use std::io::Cursor;

use anyhow::{Context, Result, bail, ensure};
use tiff::{
    TiffError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::Tag,
};

pub(super) use directory::Directory;
use directory::tag;

use super::samples::{Samples, Values};

/// How the values of a page are to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Grey { alpha: bool },
    Rgb { alpha: bool },
    Palette,
    YCbCr,
}

const GREY: u16 = 1;
const BY_PNG: &str = "save it as a PNG with 8 bits per channel";

impl Directory {
    /// Orientation as EXIF counts.
    pub(super) fn orientation(&self) -> u8 {
        self.first(tag::ORIENTATION).and_then(|turn| u8::try_from(turn).ok()).unwrap_or(1)
    }

    pub(super) fn channels(&self) -> u8 {
        self.first(tag::SAMPLES_PER_PIXEL).and_then(|n| u8::try_from(n).ok()).unwrap_or(1)
    }

    pub(super) fn bits(&self) -> u8 {
        self.first(tag::BITS_PER_SAMPLE).and_then(|n| u8::try_from(n).ok()).unwrap_or(1)
    }

    /// Whether the values went through JPEG or a lossy WebP.
    pub(super) fn is_lossy(&self) -> bool {
        matches!(self.first(tag::COMPRESSION), Some(6 | 7 | 34712 | 50001))
    }

    fn kind(&self) -> Result<Kind> {
        let samples = self.first(tag::SAMPLES_PER_PIXEL).unwrap_or(1);
        let has_alpha = matches!(self.first(tag::EXTRA_SAMPLES), Some(1 | 2));
        Ok(match (self.first(tag::PHOTOMETRIC), samples) {
            (Some(0 | 1), 1) => Kind::Grey { alpha: false },
            (Some(0 | 1), 2) if has_alpha => Kind::Grey { alpha: true },
            (Some(2), 3) => Kind::Rgb { alpha: false },
            (Some(2), 4) if has_alpha => Kind::Rgb { alpha: true },
            (Some(3), 1) => Kind::Palette,
            (Some(6), 3) => Kind::YCbCr,
            _ => bail!(self.refusal()),
        })
    }

    /// That the page cannot be read, what it is, and what to do.
    pub(super) fn refusal(&self) -> String {
        let colours = match self.first(tag::PHOTOMETRIC) {
            Some(0 | 1) => "grey values".to_owned(),
            Some(2) => "RGB".to_owned(),
            Some(3) => "a palette".to_owned(),
            Some(4) => "a transparency mask".to_owned(),
            Some(5) => "CMYK".to_owned(),
            Some(6) => "YCbCr".to_owned(),
            Some(8..=10) => "CIE Lab".to_owned(),
            Some(32803 | 34892) => "the raw values of a camera".to_owned(),
            Some(32844 | 32845) => "LogLuv".to_owned(),
            Some(other) => format!("the photometric interpretation {other}"),
            None => "no photometric interpretation".to_owned(),
        };
        let format = match self.first(tag::SAMPLE_FORMAT) {
            Some(2) => "signed integers",
            Some(3) => "floats",
            Some(5 | 6) => "complex numbers",
            _ => "integers",
        };
        let compression = match self.first(tag::COMPRESSION) {
            None | Some(1) => "uncompressed".to_owned(),
            Some(2..=4) => "compressed as a fax".to_owned(),
            Some(5) => "compressed with LZW".to_owned(),
            Some(6) => "compressed with JPEG in its old form".to_owned(),
            Some(7) => "compressed with JPEG".to_owned(),
            Some(8 | 32946) => "compressed with Deflate".to_owned(),
            Some(32773) => "compressed with PackBits".to_owned(),
            Some(34712 | 33003 | 33005) => "compressed with JPEG 2000".to_owned(),
            Some(34887) => "compressed with LERC".to_owned(),
            Some(34925) => "compressed with LZMA".to_owned(),
            Some(50000) => "compressed with Zstandard".to_owned(),
            Some(50001) => "compressed with WebP".to_owned(),
            Some(other) => format!("with compression {other}"),
        };
        let subsampled =
            self.first(tag::PHOTOMETRIC) == Some(6) && self.list(tag::CHROMA_SUBSAMPLING) != [1, 1];
        format!(
            "this kind of TIFF cannot be read ({colours}{}, {} channel{} of {}-bit {format}, \
             {compression}); {BY_PNG}",
            if subsampled { " with subsampled chroma" } else { "" },
            self.channels(),
            if self.channels() == 1 { "" } else { "s" },
            self.bits()
        )
    }

    /// The decoder's error in words.
    fn explain(&self, error: TiffError) -> anyhow::Error {
        match error {
            TiffError::UnsupportedError(_) => anyhow::Error::msg(self.refusal()),
            TiffError::LimitsExceeded => {
                anyhow::anyhow!("the TIFF needs more memory than its image may have")
            }
            error => anyhow::anyhow!("corrupt or truncated: {error}"),
        }
    }

    /// `(width, height)`.
    pub(super) fn dimensions(&self) -> Result<(u32, u32)> {
        let side = |tag: Tag| -> Result<u32> {
            let side = self.first(tag.to_u16()).context("corrupt: the TIFF has no size")?;
            u32::try_from(side).context("corrupt: the TIFF's size")
        };
        Ok((side(Tag::ImageWidth)?, side(Tag::ImageLength)?))
    }

    /// Decodes the first page.
    pub(super) fn decode(&self, bytes: &[u8], max_bytes: u64) -> Result<Samples> {
        let kind = self.kind()?;
        let patched;
        let bytes = if kind == Kind::Palette {
            // The decoder refuses palettes, but reads their indices as grey values.
            patched = self.with_photometric(bytes, GREY).context("corrupt: the TIFF's tags")?;
            &patched
        } else {
            bytes
        };
        let explain = |error| self.explain(error);
        let mut limits = Limits::default();
        limits.decoding_buffer_size = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        limits.intermediate_buffer_size = limits.decoding_buffer_size;
        let decoder = Decoder::new(Cursor::new(bytes)).map_err(explain)?;
        let mut decoder = decoder.with_limits(limits);
        let (width, height) = decoder.dimensions().map_err(explain)?;
        if kind == Kind::YCbCr {
            let range = self.list(tag::REFERENCE_BLACK_WHITE);
            ensure!(
                range.is_empty() || range == [0, 255, 128, 255, 128, 255],
                "{}",
                self.refusal()
            );
        }
        let mut stored = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut stored).map_err(explain)?;
        let read = stored.as_buffer(0).as_bytes().len();
        ensure!(read >= layout.complete_len, "{}", self.refusal());
        let channels = usize::from(self.channels());
        let size = (height as usize, width as usize);
        let values = self.unpacked(stored, size, channels);
        let values = if layout.planes > 1 { interleaved(values, channels) } else { values };
        ensure!(
            values.len() == size.0 * size.1 * channels,
            "corrupt: the TIFF has {} values for {height}x{width} pixels",
            values.len()
        );
        let (channels, values, alpha, index) = match kind {
            Kind::Grey { alpha: false } => (1, values, None, None),
            Kind::Rgb { alpha: false } => (3, values, None, None),
            Kind::Grey { alpha: true } => {
                (1, values.pick(2, &[0]), Some(values.pick(2, &[1])), None)
            }
            Kind::Rgb { alpha: true } => {
                (3, values.pick(4, &[0, 1, 2]), Some(values.pick(4, &[3])), None)
            }
            Kind::Palette => (3, self.coloured(&values)?, None, Some(values)),
            Kind::YCbCr => (3, self.rgb_of_ycbcr(&values)?, None, None),
        };
        Ok(Samples { height, width, channels, values, alpha, index, is_lossy: self.is_lossy() })
    }

    /// The decoder's numbers, one per sample. Less than 8 bits are packed; grey values among them are
    /// stretched to 8 bits.
    fn unpacked(
        &self,
        stored: DecodingResult,
        (height, width): (usize, usize),
        channels: usize,
    ) -> Values {
        let wide = |values: Vec<f64>| Values::Wide(values);
        match stored {
            DecodingResult::U8(packed) if self.bits() < 8 => {
                let bits = usize::from(self.bits());
                let most = (1_u16 << bits) - 1;
                let is_palette = self.first(tag::PHOTOMETRIC) == Some(3);
                let stretch = if is_palette { 1 } else { 255 / most.max(1) };
                let row = (width * channels * bits).div_ceil(8);
                let value = |row: &[u8], index: usize| {
                    let at = index * bits;
                    let word = u16::from(row[at / 8]) << 8
                        | u16::from(row.get(at / 8 + 1).copied().unwrap_or(0));
                    ((word >> (16 - bits - at % 8) & most) * stretch) as u8
                };
                let rows = packed.chunks_exact(row.max(1)).take(height);
                Values::U8(
                    rows.flat_map(|row| (0..width * channels).map(move |i| value(row, i)))
                        .collect(),
                )
            }
            DecodingResult::U8(values) => Values::U8(values),
            DecodingResult::U16(values) => Values::U16(values),
            DecodingResult::U32(values) => wide(values.into_iter().map(f64::from).collect()),
            DecodingResult::U64(values) => wide(values.into_iter().map(|v| v as f64).collect()),
            DecodingResult::I8(values) => wide(values.into_iter().map(f64::from).collect()),
            DecodingResult::I16(values) => wide(values.into_iter().map(f64::from).collect()),
            DecodingResult::I32(values) => wide(values.into_iter().map(f64::from).collect()),
            DecodingResult::I64(values) => wide(values.into_iter().map(|v| v as f64).collect()),
            DecodingResult::F16(values) => wide(values.into_iter().map(|v| v.to_f64()).collect()),
            DecodingResult::F32(values) => wide(values.into_iter().map(f64::from).collect()),
            DecodingResult::F64(values) => wide(values),
        }
    }

    /// The colours of a palette's indices. Some writers fill the 16 bits of the map with 8, as libtiff
    /// also allows for.
    fn coloured(&self, indices: &Values) -> Result<Values> {
        let map = self.list(tag::COLOR_MAP);
        let entries = map.len() / 3;
        ensure!(entries > 0, "corrupt: a TIFF with a palette, but without its colours");
        let shift = if map.iter().all(|&level| level < 256) { 0 } else { 8 };
        let mut colours = Vec::new();
        for index in indices.iter() {
            let index = index as usize;
            ensure!(
                index < entries,
                "a pixel has the index {index}, but the TIFF's palette has {entries} colours"
            );
            colours.extend((0..3).map(|channel| (map[channel * entries + index] >> shift) as u8));
        }
        Ok(Values::U8(colours))
    }

    fn rgb_of_ycbcr(&self, values: &Values) -> Result<Values> {
        let Values::U8(values) = values else { bail!(self.refusal()) };
        let level = |value: f32| value.round().clamp(0.0, 255.0) as u8;
        let rgb = values.chunks_exact(3).flat_map(|pixel| {
            let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
            let (cb, cr) = (cb - 128.0, cr - 128.0);
            [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(level)
        });
        Ok(Values::U8(rgb.collect()))
    }
}

/// Values of separate planes, pixel by pixel.
fn interleaved(values: Values, channels: usize) -> Values {
    fn of<T: Copy>(values: &[T], channels: usize) -> Vec<T> {
        let plane = values.len() / channels.max(1);
        (0..plane).flat_map(|i| (0..channels).map(move |c| values[c * plane + i])).collect()
    }
    match values {
        Values::U8(values) => Values::U8(of(&values, channels)),
        Values::U16(values) => Values::U16(of(&values, channels)),
        Values::Wide(values) => Values::Wide(of(&values, channels)),
    }
}
