//! Normalise, mirror and pad in one pass over memory.

use super::{PadOrder, Planes, Resized, simd::vectorized};
use crate::InputSpec;

/// What LiteMedSAM divides by at least.
const SMALLEST_RANGE: f32 = 1e-8;

/// Per-channel `(value - mean) / std` in 32-bit floats, and the value of the border.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    pub(super) mean: [f32; 3],
    pub(super) std: [f32; 3],
    border: [f32; 3],
}

impl Normalization {
    /// Takes mean and standard deviation from the backbone, for the given order of padding.
    #[must_use]
    pub fn new(spec: &InputSpec, pad_order: PadOrder) -> Self {
        let mean = spec.pixel_mean.map(|v| v as f32);
        let std = spec.pixel_std.map(|v| v as f32);
        Self::of(mean, std, pad_order)
    }

    /// From 0 to 1, for an image whose smallest and largest value are `min` and `max`; an image of one
    /// value becomes 0.
    #[must_use]
    pub fn min_max((min, max): (f32, f32), pad_order: PadOrder) -> Self {
        Self::of([min; 3], [(max - min).max(SMALLEST_RANGE); 3], pad_order)
    }

    fn of(mean: [f32; 3], std: [f32; 3], pad_order: PadOrder) -> Self {
        let border = match pad_order {
            PadOrder::NormalizeThenPad => [0.0; 3],
            PadOrder::PadThenNormalize => std::array::from_fn(|c| (0.0 - mean[c]) / std[c]),
        };
        Self { mean, std, border }
    }

    /// Mean of each channel, of values in 0..=255.
    #[must_use]
    pub fn mean(&self) -> [f32; 3] {
        self.mean
    }

    /// Standard deviation of each channel, of values in 0..=255.
    #[must_use]
    pub fn std(&self) -> [f32; 3] {
        self.std
    }

    /// Whether the border is what black pixels become; else it is 0.
    #[must_use]
    pub fn has_black_border(&self) -> bool {
        self.border != [0.0; 3]
    }
}

/// Writes the image that `normalize_into` would normalise into its place of a batch of bytes: `out` is
/// `[3, height, width]`, at least as large as the image, which goes to the top left. Beyond it are zeros.
pub(super) fn copy_into(
    planes: &Planes<u8>,
    flip: bool,
    (height, width): (usize, usize),
    out: &mut [u8],
) {
    let Planes { channels, height: rows, width: columns, ref data } = *planes;
    for (c, plane) in out.chunks_exact_mut(height * width).enumerate() {
        let source = source_channel(c, channels) * rows * columns;
        let sources = data[source..source + rows * columns].chunks_exact(columns);
        let (inside, below) = plane.split_at_mut(rows * width);
        for (to, from) in inside.chunks_exact_mut(width).zip(sources) {
            let (to, beside) = to.split_at_mut(columns);
            to.copy_from_slice(from);
            if flip {
                to.reverse();
            }
            beside.fill(0);
        }
        below.fill(0);
    }
}

/// Writes one image into its place of a batch: `out` is `[3, height, width]`, at least as large as
/// the image, which goes to the top left. Every value is overwritten.
pub fn normalize_into(
    image: &Resized,
    normalization: &Normalization,
    flip: bool,
    (height, width): (usize, usize),
    out: &mut [f32],
) {
    let size = (height, width);
    match image {
        Resized::U8(planes) => vectorized(
            #[inline(always)]
            || write(planes, normalization, flip, size, out, f32::from),
        ),
        Resized::F32(planes) => vectorized(
            #[inline(always)]
            || write(planes, normalization, flip, size, out, |v| v),
        ),
    }
}

#[inline(always)]
fn write<T: Copy>(
    planes: &Planes<T>,
    normalization: &Normalization,
    flip: bool,
    (height, width): (usize, usize),
    out: &mut [f32],
    to_f32: impl Fn(T) -> f32,
) {
    let Planes { channels, height: rows, width: columns, ref data } = *planes;
    for c in 0..3 {
        let (mean, std) = (normalization.mean[c], normalization.std[c]);
        let source = source_channel(c, channels) * rows * columns;
        let plane = &mut out[c * height * width..(c + 1) * height * width];
        let sources = data[source..source + rows * columns].chunks_exact(columns);
        for (to, from) in plane.chunks_exact_mut(width).zip(sources) {
            let inside = to[..columns].iter_mut();
            if flip {
                for (value, &pixel) in inside.rev().zip(from) {
                    *value = (to_f32(pixel) - mean) / std;
                }
            } else {
                for (value, &pixel) in inside.zip(from) {
                    *value = (to_f32(pixel) - mean) / std;
                }
            }
        }
    }
    fill_border(normalization, (rows, columns), (height, width), out);
}

/// The channel that output channel `c` is read from: a single one stands for all three.
#[inline(always)]
pub(super) fn source_channel(c: usize, channels: usize) -> usize {
    if channels == 1 { 0 } else { c }
}

/// Fills the part of `[3, height, width]` that an image of `rows` and `columns` does not cover.
#[inline(always)]
pub(super) fn fill_border(
    normalization: &Normalization,
    (rows, columns): (usize, usize),
    (height, width): (usize, usize),
    out: &mut [f32],
) {
    for (plane, border) in out.chunks_exact_mut(height * width).zip(normalization.border) {
        let (beside, below) = plane.split_at_mut(rows * width);
        if columns < width {
            beside.chunks_exact_mut(width).for_each(|row| row[columns..].fill(border));
        }
        below.fill(border);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> InputSpec {
        InputSpec {
            pixel_mean: [1.0, 2.0, 3.0],
            pixel_std: [2.0, 4.0, 8.0],
            square_size: None,
            divisor: 1,
        }
    }

    fn run(order: PadOrder, flip: bool) -> Vec<f32> {
        let image =
            Resized::U8(Planes { channels: 3, height: 1, width: 2, data: vec![1, 3, 2, 6, 3, 11] });
        let mut out = vec![f32::NAN; 3 * 2 * 3];
        normalize_into(&image, &Normalization::new(&spec(), order), flip, (2, 3), &mut out);
        out
    }

    #[test]
    fn pads_right_and_bottom_with_zero_or_black() {
        assert_eq!(
            run(PadOrder::NormalizeThenPad, false),
            [0., 1., 0., 0., 0., 0., 0., 1., 0., 0., 0., 0., 0., 1., 0., 0., 0., 0.]
        );
        let black = run(PadOrder::PadThenNormalize, false);
        assert_eq!(black[..6], [0., 1., -0.5, -0.5, -0.5, -0.5]);
        assert_eq!(black[12..], [0., 1., -0.375, -0.375, -0.375, -0.375]);
    }

    #[test]
    fn flips_the_image_but_not_the_border() {
        assert_eq!(run(PadOrder::NormalizeThenPad, true)[..6], [1., 0., 0., 0., 0., 0.]);
    }

    #[test]
    fn one_channel_stands_for_three() {
        let image = Resized::U8(Planes { channels: 1, height: 1, width: 1, data: vec![3] });
        let mut out = vec![0.0; 3];
        let normalization = Normalization::new(&spec(), PadOrder::NormalizeThenPad);
        normalize_into(&image, &normalization, false, (1, 1), &mut out);
        assert_eq!(out, [1.0, 0.25, 0.0]);
    }
}
