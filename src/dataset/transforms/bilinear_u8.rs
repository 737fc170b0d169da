//! OpenCV's `INTER_LINEAR` on 8-bit images, bit for bit: fixed point with 11-bit coefficients.

use std::ops::Range;

use super::{
    Planes, Window,
    antialias::planar,
    sampling::{Position, RowCache, Tap, columns_read, horizontal_taps, rows, taps},
    simd::vectorized,
    window::crop,
};
use sonotune_base::image_io::Image;

/// The window of `cv2.resize(image, (width, height), interpolation=INTER_LINEAR)` of 8-bit pixels,
/// planar.
pub(super) fn resize_u8(image: Image, window: &Window) -> Planes<u8> {
    let (height, width) = (window.rows().len(), window.columns().len());
    let (from_height, from_width) = (image.height as usize, image.width as usize);
    let channels = image.channels;
    if (image.height, image.width) == window.resized() {
        return planar(crop(image, window).pixels, channels, height, width);
    }
    let (to_height, to_width) = (window.resized().0 as usize, window.resized().1 as usize);
    let across: Vec<Tap> = horizontal_taps(from_width, to_width, Position::Single)
        .skip(window.columns().start)
        .take(width)
        .collect();
    let read = columns_read(&across, from_width);
    let columns: Vec<Column> = across.iter().map(|tap| Column::new(tap, &read)).collect();
    let mut out = vec![0; channels * height * width];
    let mut cache = RowCache::<u16>::new(channels * width, 0);
    let mut packed = vec![0; read.len()];
    let down = taps(from_height, to_height, Position::Single);
    for (y, tap) in down.skip(window.rows().start).take(height).enumerate() {
        let (above, below) = cache.pair(rows(tap, from_height), |row, resampled| {
            let start = (row * from_width + read.start) * channels;
            let source = &image.pixels[start..start + read.len() * channels];
            if channels == 1 {
                resample_grey(source, &columns, resampled);
            } else {
                resample_rgb(source, &columns, &mut packed, resampled);
            }
        });
        for c in 0..channels {
            let at = (c * height + y) * width;
            let plane = c * width..(c + 1) * width;
            let (above, below) = (&above[plane.clone()], &below[plane]);
            vectorized(
                #[inline(always)]
                || blend(above, below, tap.fixed(), &mut out[at..at + width]),
            );
        }
    }
    Planes { channels, height, width, data: out }
}

/// Indices and fixed-point weights of one output column.
#[derive(Debug, Clone, Copy)]
struct Column {
    first: u32,
    second: u32,
    weights: (u16, u16),
}

impl Column {
    /// Relative to the first of the columns that are read.
    fn new(tap: &Tap, read: &Range<usize>) -> Self {
        let first = (tap.index as usize - read.start) as u32;
        Self { first, second: (first + 1).min(read.len() as u32 - 1), weights: tap.fixed() }
    }
}

/// One source row, horizontally interpolated and shifted right by 4 (it then fits 16 bits).
fn resample_grey(source: &[u8], columns: &[Column], out: &mut [u16]) {
    for (value, column) in out.iter_mut().zip(columns) {
        let (first, second) = (source[column.first as usize], source[column.second as usize]);
        let (a, b) = column.weights;
        let sum = u32::from(first) * u32::from(a) + u32::from(second) * u32::from(b);
        *value = (sum >> 4) as u16;
    }
}

/// The same for interleaved RGB, written as three planes. The three channels travel in one 64-bit
/// word, 21 bits apart: a weighted sum is below 2^19, so one multiplication serves all three.
fn resample_rgb(source: &[u8], columns: &[Column], packed: &mut [u64], out: &mut [u16]) {
    for (word, pixel) in packed.iter_mut().zip(source.chunks_exact(3)) {
        *word = u64::from(pixel[0]) | u64::from(pixel[1]) << 21 | u64::from(pixel[2]) << 42;
    }
    let (red, rest) = out.split_at_mut(columns.len());
    let (green, blue) = rest.split_at_mut(columns.len());
    for (((column, r), g), b) in columns.iter().zip(red).zip(green).zip(blue) {
        let (first, second) = (packed[column.first as usize], packed[column.second as usize]);
        let sum = first * u64::from(column.weights.0) + second * u64::from(column.weights.1);
        *r = (sum >> 4) as u16;
        *g = (sum >> 25) as u16;
        *b = (sum >> 46) as u16;
    }
}

/// Vertical interpolation of two resampled rows.
#[inline(always)]
fn blend(above: &[u16], below: &[u16], (a, b): (u16, u16), out: &mut [u8]) {
    let high = |w: u16, s: u16| ((u32::from(w) * u32::from(s)) >> 16) as u16;
    for ((value, &above), &below) in out.iter_mut().zip(above).zip(below) {
        *value = ((high(a, above) + high(b, below) + 2) >> 2) as u8;
    }
}
