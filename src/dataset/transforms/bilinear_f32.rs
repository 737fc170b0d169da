//! OpenCV's `INTER_LINEAR` on an image converted to 32-bit floats, bit for bit: positions in
//! doubles, and `a + (b - a) · w` with one rounding (a fused multiply-add), along x, then along y.
//! (An image one pixel wide or high goes through a different path in OpenCV, and differs by up to
//! 0.002 of 255 levels.)

use std::ops::Range;

use super::{
    Normalization, Planes, Window,
    normalize::{fill_border, source_channel},
    sampling::{Position, RowCache, Tap, columns_read, horizontal_taps, rows, taps},
    simd::vectorized,
};
use sonotune_base::image_io::Image;

/// Pixels processed at a time: enough to fill the widest vectors once split into channels.
const BLOCK: usize = 8;

/// The window of `cv2.resize` of the image as floats; planar, values in 0..=255.
pub(super) fn resize_f32(image: &Image, window: &Window) -> Planes<f32> {
    let (height, width) = (window.rows().len(), window.columns().len());
    let channels = image.channels;
    let mut data = vec![0.0; channels * height * width];
    each_row(
        image,
        window,
        #[inline(always)]
        |y, above, below, weight| {
            for c in 0..channels {
                let at = (c * height + y) * width;
                let plane = c * width..(c + 1) * width;
                let (above, below) = (&above[plane.clone()], &below[plane]);
                let out = &mut data[at..at + width];
                for ((value, &above), &below) in out.iter_mut().zip(above).zip(below) {
                    *value = between(above, below, weight);
                }
            }
        },
    );
    Planes { channels, height, width, data }
}

/// Same result as [`resize_f32`] followed by [`normalize_into`](super::normalize_into), without
/// storing the image in between.
pub(super) fn resize_normalized(
    image: &Image,
    window: &Window,
    normalization: &Normalization,
    flip: bool,
    (height, width): (usize, usize),
    out: &mut [f32],
) {
    let (rows, columns) = (window.rows().len(), window.columns().len());
    each_row(
        image,
        window,
        #[inline(always)]
        |y, above, below, weight| {
            for c in 0..3 {
                let source = source_channel(c, image.channels) * columns;
                let plane = source..source + columns;
                let pairs = above[plane.clone()].iter().zip(&below[plane]);
                let (mean, std) = (normalization.mean[c], normalization.std[c]);
                let to = &mut out[(c * height + y) * width..][..columns];
                if flip {
                    for (value, (&above, &below)) in to.iter_mut().rev().zip(pairs) {
                        *value = (between(above, below, weight) - mean) / std;
                    }
                } else {
                    for (value, (&above, &below)) in to.iter_mut().zip(pairs) {
                        *value = (between(above, below, weight) - mean) / std;
                    }
                }
            }
        },
    );
    fill_border(normalization, (rows, columns), (height, width), out);
}

/// Calls `row` for each row of the window with its index there, the two source rows it lies between,
/// resampled along x (`[C, W]`), and the weight of the second.
#[inline(always)]
fn each_row(image: &Image, window: &Window, mut row: impl FnMut(usize, &[f32], &[f32], f32)) {
    let (height, width) = (window.rows().len(), window.columns().len());
    let (from_height, from_width) = (image.height as usize, image.width as usize);
    let (to_height, to_width) = (window.resized().0 as usize, window.resized().1 as usize);
    let across: Vec<Tap> = horizontal_taps(from_width, to_width, Position::Double)
        .skip(window.columns().start)
        .take(width)
        .collect();
    let read = columns_read(&across, from_width);
    let columns: Vec<Column> = across.iter().map(|tap| Column::new(tap, &read)).collect();
    let channels = image.channels;
    let mut cache = RowCache::<f32>::new(channels * width, 0.0);
    let mut pixels = vec![[0.0; 4]; read.len()];
    vectorized(
        #[inline(always)]
        || {
            let down = taps(from_height, to_height, Position::Double);
            for (y, tap) in down.skip(window.rows().start).take(height).enumerate() {
                let (above, below) = cache.pair(
                    rows(tap, from_height),
                    #[inline(always)]
                    |from, resampled| {
                        let start = (from * from_width + read.start) * channels;
                        let source = &image.pixels[start..start + read.len() * channels];
                        if channels == 1 {
                            resample_grey(source, &columns, resampled);
                        } else {
                            resample_rgb(source, &columns, &mut pixels, resampled);
                        }
                    },
                );
                row(y, above, below, tap.fraction);
            }
        },
    );
}

/// Indices of both neighbours and weight of the second.
#[derive(Debug, Clone, Copy)]
struct Column {
    first: u32,
    second: u32,
    fraction: f32,
}

impl Column {
    /// Relative to the first of the columns that are read.
    fn new(tap: &Tap, read: &Range<usize>) -> Self {
        let first = (tap.index as usize - read.start) as u32;
        let second = (first + 1).min(read.len() as u32 - 1);
        Self { first, second, fraction: tap.fraction }
    }
}

#[inline(always)]
fn resample_grey(source: &[u8], columns: &[Column], out: &mut [f32]) {
    for (value, column) in out.iter_mut().zip(columns) {
        let (first, second) = (source[column.first as usize], source[column.second as usize]);
        *value = between(f32::from(first), f32::from(second), column.fraction);
    }
}

/// Interleaved RGB to three planes. A fourth lane makes a pixel one vector register.
#[inline(always)]
fn resample_rgb(source: &[u8], columns: &[Column], pixels: &mut [[f32; 4]], out: &mut [f32]) {
    for (pixel, bytes) in pixels.iter_mut().zip(source.chunks_exact(3)) {
        *pixel = [f32::from(bytes[0]), f32::from(bytes[1]), f32::from(bytes[2]), 0.0];
    }
    let (red, rest) = out.split_at_mut(columns.len());
    let (green, blue) = rest.split_at_mut(columns.len());
    let planes = red.chunks_mut(BLOCK).zip(green.chunks_mut(BLOCK)).zip(blue.chunks_mut(BLOCK));
    for (columns, ((red, green), blue)) in columns.chunks(BLOCK).zip(planes) {
        let mut block = [[0.0; 4]; BLOCK];
        for (value, column) in block.iter_mut().zip(columns) {
            let (first, second) = (pixels[column.first as usize], pixels[column.second as usize]);
            *value = std::array::from_fn(|c| between(first[c], second[c], column.fraction));
        }
        for (c, plane) in [red, green, blue].into_iter().enumerate() {
            let values: [f32; BLOCK] = std::array::from_fn(|i| block[i][c]);
            plane.copy_from_slice(&values[..plane.len()]);
        }
    }
}

#[inline(always)]
fn between(a: f32, b: f32, weight: f32) -> f32 {
    (b - a).mul_add(weight, a)
}
