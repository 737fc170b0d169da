//! Samples of a frame as whole numbers.

use anyhow::{Result, ensure};

use super::{header::Image, header::Photometric, syntax::Encoding};

/// `[H, W, C]`, row-major, as stored: numbers with a sign keep their bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Samples {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

impl Samples {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::U32(values) => values.len(),
        }
    }

    /// Changes planes into interleaved colours.
    fn interleaved(self, channels: usize) -> Self {
        fn interleave<T: Copy>(planes: &[T], channels: usize) -> Vec<T> {
            let size = planes.len() / channels;
            (0..size).flat_map(|i| (0..channels).map(move |c| planes[c * size + i])).collect()
        }
        match self {
            Self::U8(values) => Self::U8(interleave(&values, channels)),
            Self::U16(values) => Self::U16(interleave(&values, channels)),
            Self::U32(values) => Self::U32(interleave(&values, channels)),
        }
    }
}

/// Unpacks a frame that is not compressed. It begins at bit `skip` of `bytes`.
///
/// # Errors
/// Too few bytes, and a width or depth that pairs of pixels do not allow.
pub(super) fn native(
    bytes: &[u8],
    skip: u64,
    image: &Image,
    encoding: Encoding,
) -> Result<Samples> {
    let count = image.num_pixels() * image.photometric.samples();
    let start = usize::try_from(skip / 8)?;
    let len = usize::try_from((skip % 8 + image.native_bits()).div_ceil(8))?;
    ensure!(bytes.len() >= start + len, "it has {} bytes, {} are needed", bytes.len(), start + len);
    let bytes = &bytes[start..start + len];
    if image.photometric == Photometric::YbrFull422 {
        ensure!(
            image.bits_allocated == 8 && image.width.is_multiple_of(2),
            "YBR_FULL_422 needs 8 bits per sample and an even width; it has {} and {}",
            image.bits_allocated,
            image.width
        );
        let pixels = bytes.chunks_exact(4).flat_map(|p| [p[0], p[2], p[3], p[1], p[2], p[3]]);
        return Ok(Samples::U8(pixels.collect()));
    }
    let samples = match image.bits_allocated {
        1 => {
            let bit = |i: usize| {
                let at = i + (skip % 8) as usize;
                bytes[at / 8] >> (at % 8) & 1
            };
            Samples::U8((0..count).map(bit).collect())
        }
        8 => Samples::U8(bytes.to_vec()),
        16 => {
            let number = |b: &[u8]| encoding.u16([b[0], b[1]]);
            Samples::U16(bytes.chunks_exact(2).map(number).collect())
        }
        _ => {
            let number = |b: &[u8]| encoding.u32([b[0], b[1], b[2], b[3]]);
            Samples::U32(bytes.chunks_exact(4).map(number).collect())
        }
    };
    Ok(if image.planar { samples.interleaved(image.photometric.samples()) } else { samples })
}
