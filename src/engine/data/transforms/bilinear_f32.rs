//! OpenCV's `INTER_LINEAR` on an image converted to 32-bit floats, bit for bit: positions in
//! doubles, and `a + (b - a) · w` with one rounding (a fused multiply-add), along x, then along y. (An image one pixel wide
//! or high takes another path in OpenCV, and differs by up to 0.002 of 255 levels.)

use super::{
    Planes,
    sampling::{Position, RowCache, Tap, horizontal_taps, rows, taps},
    simd::vectorized,
};
use crate::data::image_io::Image;

/// `cv2.resize` of the image as floats, planar; values in 0..=255.
pub(super) fn resize_f32(image: &Image, size: (u32, u32)) -> Planes<f32> {
    if image.channels == 1 {
        resize::<1, 1>(image, size)
    } else {
        // A fourth lane makes a pixel one vector register.
        resize::<3, 4>(image, size)
    }
}

/// Of `CHANNELS` channels, held `LANES` to a pixel while in work.
fn resize<const CHANNELS: usize, const LANES: usize>(
    image: &Image,
    size: (u32, u32),
) -> Planes<f32> {
    let (height, width) = (size.0 as usize, size.1 as usize);
    let (from_height, from_width) = (image.height as usize, image.width as usize);
    let columns: Vec<Column> = horizontal_taps(from_width, width, Position::Double)
        .map(|tap| Column::new(tap, from_width))
        .collect();
    let mut data = vec![0.0; CHANNELS * height * width];
    let mut cache = RowCache::<[f32; LANES]>::new(width, [0.0; LANES]);
    let mut pixels = vec![[0.0; LANES]; from_width];
    vectorized(
        #[inline(always)]
        || {
            for (y, tap) in taps(from_height, height, Position::Double).enumerate() {
                let (above, below) = cache.pair(
                    rows(tap, from_height),
                    #[inline(always)]
                    |row, resampled| {
                        let stride = from_width * CHANNELS;
                        let source = &image.pixels[row * stride..(row + 1) * stride];
                        resample::<CHANNELS, LANES>(source, &columns, &mut pixels, resampled);
                    },
                );
                for c in 0..CHANNELS {
                    let at = (c * height + y) * width;
                    let out = &mut data[at..at + width];
                    for ((value, above), below) in out.iter_mut().zip(above).zip(below) {
                        *value = between(above[c], below[c], tap.fraction);
                    }
                }
            }
        },
    );
    Planes { channels: CHANNELS, height, width, data }
}

/// Indices of both neighbours and weight of the second.
#[derive(Debug, Clone, Copy)]
struct Column {
    first: u32,
    second: u32,
    fraction: f32,
}

impl Column {
    fn new(tap: Tap, from_width: usize) -> Self {
        let first = tap.index as u32;
        let second = (first + 1).min(from_width as u32 - 1);
        Self { first, second, fraction: tap.fraction }
    }
}

#[inline(always)]
fn resample<const CHANNELS: usize, const LANES: usize>(
    source: &[u8],
    columns: &[Column],
    pixels: &mut [[f32; LANES]],
    out: &mut [[f32; LANES]],
) {
    for (pixel, bytes) in pixels.iter_mut().zip(source.chunks_exact(CHANNELS)) {
        for c in 0..CHANNELS {
            pixel[c] = f32::from(bytes[c]);
        }
    }
    for (value, column) in out.iter_mut().zip(columns) {
        let (first, second) = (pixels[column.first as usize], pixels[column.second as usize]);
        for lane in 0..LANES {
            value[lane] = between(first[lane], second[lane], column.fraction);
        }
    }
}

#[inline(always)]
fn between(a: f32, b: f32, weight: f32) -> f32 {
    (b - a).mul_add(weight, a)
}
