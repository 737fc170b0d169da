//! The values of an image as its file stores them, and their conversion to 8 bits.

use anyhow::{Result, bail, ensure};
use image::{ColorType, metadata::Orientation};

/// Numbers of an image. `Wide` holds any number of up to 32 bits exactly.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    Wide(Vec<f64>),
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::Wide(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values in order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::U8(values) => Box::new(values.iter().map(|&v| f64::from(v))),
            Self::U16(values) => Box::new(values.iter().map(|&v| f64::from(v))),
            Self::Wide(values) => Box::new(values.iter().copied()),
        }
    }

    /// Smallest and largest number; `None` if there is none or one is not finite.
    pub fn range(&self) -> Option<(f64, f64)> {
        let mut range: Option<(f64, f64)> = None;
        for value in self.iter() {
            if !value.is_finite() {
                return None;
            }
            range = Some(range.map_or((value, value), |(l, h)| (l.min(value), h.max(value))));
        }
        range
    }

    /// The channels `keep` of pixels that have `channels`.
    pub(super) fn pick(&self, channels: usize, keep: &[usize]) -> Self {
        fn of<T: Copy + Default>(values: &[T], channels: usize, keep: &[usize]) -> Vec<T> {
            let mut out = vec![T::default(); values.len() / channels * keep.len()];
            for (to, from) in out.chunks_exact_mut(keep.len()).zip(values.chunks_exact(channels)) {
                for (value, &channel) in to.iter_mut().zip(keep) {
                    *value = from[channel];
                }
            }
            out
        }
        match self {
            Self::U8(values) => Self::U8(of(values, channels, keep)),
            Self::U16(values) => Self::U16(of(values, channels, keep)),
            Self::Wide(values) => Self::Wide(of(values, channels, keep)),
        }
    }

    fn turned(&self, size: (usize, usize), channels: usize, turn: Orientation) -> Self {
        match self {
            Self::U8(values) => Self::U8(turned(values, size, channels, turn)),
            Self::U16(values) => Self::U16(turned(values, size, channels, turn)),
            Self::Wide(values) => Self::Wide(turned(values, size, channels, turn)),
        }
    }
}

/// An image with the full depth of its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    pub height: u32,
    pub width: u32,
    /// 1 (grey) or 3 (RGB); a palette is looked up.
    pub channels: usize,
    /// `[H, W, C]`, row-major.
    pub values: Values,
    /// `[H, W]`, if the file has an alpha channel and it was asked for.
    pub alpha: Option<Values>,
    /// `[H, W]`, if the file has a palette.
    pub index: Option<Values>,
    /// Whether the values went through lossy compression.
    pub is_lossy: bool,
}

impl Samples {
    /// From what the library's decoder yields.
    pub(super) fn from_raw(
        (width, height): (u32, u32),
        raw: Vec<u8>,
        color: ColorType,
        with_alpha: bool,
    ) -> Result<Self> {
        let words = |raw: &[u8]| {
            Values::U16(raw.chunks_exact(2).map(|w| u16::from_ne_bytes([w[0], w[1]])).collect())
        };
        let floats = |raw: &[u8]| {
            let float = |b: &[u8]| f64::from(f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
            Values::Wide(raw.chunks_exact(4).map(float).collect())
        };
        let values = match color {
            ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => Values::U8(raw),
            ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => words(&raw),
            ColorType::Rgb32F | ColorType::Rgba32F => floats(&raw),
            other => bail!("its pixels are {other:?}; only integers and floats are supported"),
        };
        let (values, alpha) = match color.channel_count() {
            2 => (values.pick(2, &[0]), with_alpha.then(|| values.pick(2, &[1]))),
            4 => (values.pick(4, &[0, 1, 2]), with_alpha.then(|| values.pick(4, &[3]))),
            _ => (values, None),
        };
        let channels = if color.has_color() { 3 } else { 1 };
        Ok(Self { height, width, channels, values, alpha, index: None, is_lossy: false })
    }

    /// Rotated and mirrored as `turn` says.
    pub(super) fn turned(self, turn: Orientation) -> Self {
        if turn == Orientation::NoTransforms {
            return self;
        }
        let size = (self.height as usize, self.width as usize);
        let plane = |values: &Values| values.turned(size, 1, turn);
        let quarter = super::swaps_sides(turn);
        Self {
            values: self.values.turned(size, self.channels, turn),
            alpha: self.alpha.as_ref().map(plane),
            index: self.index.as_ref().map(plane),
            height: if quarter { self.width } else { self.height },
            width: if quarter { self.height } else { self.width },
            ..self
        }
    }

    /// `[H, W, C]` in 8 bits, and [`Stored::peak`](super::Stored::peak). 16 bits keep their upper half, as
    /// OpenCV does; numbers of other types from 0 to 255 are rounded, those from 0 to 1 stretched.
    ///
    /// # Errors
    /// Names the range if most of it would be lost: 16 bits of which at most 12 are used, or numbers
    /// outside 0 to 255.
    pub(super) fn into_8bit(self) -> Result<(Vec<u8>, Option<u16>)> {
        match self.values {
            Values::U8(values) => Ok((values, None)),
            Values::U16(values) => {
                let peak = peak(&values)?;
                Ok((values.into_iter().map(|value| (value >> 8) as u8).collect(), peak))
            }
            Values::Wide(values) => {
                Ok((narrow(&values, self.width as usize * self.channels)?, None))
            }
        }
    }
}

/// The largest of 16-bit values; `None` for those of 8 bits, written twice or shifted, which are a dark image
/// at most. Refuses values that would be almost black in 8 bits: those of a device that fills 12 bits. More
/// bits are only doubted, once several images are known ([`Peaks`](super::Peaks)).
fn peak(values: &[u16]) -> Result<Option<u16>> {
    const TWELVE_BITS: u16 = 4095;
    let most = values.iter().copied().fold(0, u16::max);
    let all = |of: u16| values.iter().all(|value| value.is_multiple_of(of));
    if all(257) || all(256) {
        return Ok(None);
    }
    ensure!(
        most > TWELVE_BITS,
        "its 16-bit values reach only {most} of 65535, so it would be almost black in 8 bits; stretch \
         the values and save it with 8 bits per channel"
    );
    Ok(Some(most))
}

/// `row` is the number of values per row.
fn narrow(values: &[f64], row: usize) -> Result<Vec<u8>> {
    let wrong = values.iter().position(|value| !value.is_finite());
    if let Some(at) = wrong {
        bail!(
            "row {} of its pixels (counted from 0) holds {}; replace it by a number",
            at / row.max(1),
            values[at]
        );
    }
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    ensure!(
        low >= 0.0 && high <= 255.0,
        "its values range from {low} to {high}, beyond 0 to 255; stretch them to that range and save it \
         with 8 bits per channel"
    );
    let factor = if high <= 1.0 { 255.0 } else { 1.0 };
    Ok(values.iter().map(|value| (value * factor).round() as u8).collect())
}

fn turned<T: Copy>(
    values: &[T],
    (height, width): (usize, usize),
    channels: usize,
    turn: Orientation,
) -> Vec<T> {
    use Orientation as O;
    let (rows, columns) = if super::swaps_sides(turn) { (width, height) } else { (height, width) };
    let mut out = Vec::with_capacity(values.len());
    for r in 0..rows {
        for c in 0..columns {
            let (y, x) = match turn {
                O::NoTransforms => (r, c),
                O::FlipHorizontal => (r, width - 1 - c),
                O::FlipVertical => (height - 1 - r, c),
                O::Rotate180 => (height - 1 - r, width - 1 - c),
                O::Rotate90 => (height - 1 - c, r),
                O::Rotate270 => (c, width - 1 - r),
                O::Rotate90FlipH => (c, r),
                O::Rotate270FlipH => (height - 1 - c, width - 1 - r),
            };
            let at = (y * width + x) * channels;
            out.extend_from_slice(&values[at..at + channels]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: Values) -> Samples {
        let width = values.len() as u32;
        let (alpha, index) = (None, None);
        Samples { height: 1, width, channels: 1, values, alpha, index, is_lossy: false }
    }

    #[test]
    fn values_become_8_bits_or_their_range_is_named() {
        let both = |values: Values| samples(values).into_8bit().map_err(|e| e.to_string());
        let of = |values: Values| both(values).map(|(pixels, _)| pixels);
        let peak = |values: &[u16]| both(Values::U16(values.to_vec())).unwrap().1;
        let words = |values: &[u16]| of(Values::U16(values.to_vec()));
        let wide = |values: &[f64]| of(Values::Wide(values.to_vec()));
        assert_eq!(words(&[0x12FF, 0, 0xFFFF]).unwrap(), [0x12, 0, 0xFF]);
        assert_eq!(words(&[0, 0]).unwrap(), [0, 0]);
        assert_eq!(words(&[257 * 3, 257 * 15]).unwrap(), [3, 15]);
        assert_eq!(words(&[256 * 3, 256 * 15]).unwrap(), [3, 15]);
        assert_eq!(peak(&[16383, 7, 0]), Some(16383));
        assert_eq!([peak(&[257 * 99, 0]), peak(&[256 * 255]), peak(&[0])], [None; 3]);
        for dark in [&[0, 4095][..], &[1, 0], &[1023, 512]] {
            let error = words(dark).unwrap_err();
            assert!(error.contains(&format!("reach only {} of 65535", dark.iter().max().unwrap())));
        }
        assert_eq!(wide(&[0.0, 0.5, 1.0]).unwrap(), [0, 128, 255]);
        assert_eq!(wide(&[0.0, 1.0]).unwrap(), [0, 255]);
        assert_eq!(wide(&[0.0, 99.6, 255.0]).unwrap(), [0, 100, 255]);
        assert!(wide(&[-3.0, 4.0]).unwrap_err().contains("from -3 to 4"));
        assert!(wide(&[0.0, 256.0]).unwrap_err().contains("from 0 to 256"));
        assert!(
            wide(&[0.0, f64::NAN])
                .unwrap_err()
                .contains("row 0 of its pixels (counted from 0) holds NaN")
        );
    }

    #[test]
    fn every_turn_is_the_librarys() {
        let gray = image::GrayImage::from_raw(3, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
        for exif in 1..=8 {
            let turn = Orientation::from_exif(exif).unwrap();
            let mut expected = image::DynamicImage::from(gray.clone());
            expected.apply_orientation(turn);
            let image = Samples { width: 3, height: 2, ..samples(Values::U8(gray.to_vec())) };
            let image = image.turned(turn);
            assert_eq!((image.width, image.height), (expected.width(), expected.height()));
            assert_eq!(image.values, Values::U8(expected.into_bytes()), "{exif}");
        }
    }
}
