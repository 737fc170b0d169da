//! OpenCV's `INTER_LINEAR` and `INTER_NEAREST`, reproduced.
//!
//! 8-bit images are interpolated in fixed point with 11-bit coefficients, and the result is
//! bit-identical to `cv2.resize`. Output is planar, `[C, H, W]`, as the network wants it.

use super::{Planes, antialias::planar};
use crate::data::image_io::Image;

/// Fixed-point one of OpenCV's coefficients.
const ONE: f32 = 2048.0;

/// Where one output pixel reads along one axis, and how much of each neighbour it takes.
#[derive(Debug, Clone, Copy)]
struct Tap {
    /// First of two neighbours; −1 to `n − 1` on the vertical axis.
    index: i64,
    /// Weight of the second neighbour, in [0, 1).
    fraction: f32,
}

impl Tap {
    /// Both weights in fixed point; rounded apart, so their sum may miss 2048 by one, as OpenCV's.
    fn fixed(self) -> (u16, u16) {
        let fixed = |w: f32| (w * ONE).round_ties_even() as u16;
        (fixed(1.0 - self.fraction), fixed(self.fraction))
    }
}

/// Sampling positions with pixel centres aligned: doubles for the scale, a float for the position.
fn taps(from: usize, to: usize) -> impl Iterator<Item = Tap> {
    let scale = 1.0 / (to as f64 / from as f64);
    (0..to).map(move |i| {
        let position = ((i as f64 + 0.5) * scale - 0.5) as f32;
        let index = position.floor();
        Tap { index: index as i64, fraction: position - index }
    })
}

/// Horizontal taps: at the borders the outer neighbour gets no weight.
fn horizontal_taps(from: usize, to: usize) -> Vec<Tap> {
    taps(from, to)
        .map(|tap| {
            if tap.index < 0 {
                Tap { index: 0, fraction: 0.0 }
            } else if tap.index >= from as i64 - 1 {
                Tap { index: from as i64 - 1, fraction: 0.0 }
            } else {
                tap
            }
        })
        .collect()
}

/// Vertical neighbours: weights are kept and both rows clamped, unlike the horizontal axis.
fn rows(tap: Tap, height: usize) -> (usize, usize) {
    let last = height as i64 - 1;
    (tap.index.clamp(0, last) as usize, (tap.index + 1).clamp(0, last) as usize)
}

/// Keeps the two source rows in use horizontally resampled, so that each is computed once.
struct RowCache<T> {
    held: [Option<usize>; 2],
    data: [Vec<T>; 2],
}

impl<T: Copy + Default> RowCache<T> {
    fn new(length: usize) -> Self {
        Self { held: [None; 2], data: [vec![T::default(); length], vec![T::default(); length]] }
    }

    /// Both rows; `compute` fills one that is not held yet.
    fn pair(
        &mut self,
        (first, second): (usize, usize),
        mut compute: impl FnMut(usize, &mut [T]),
    ) -> (&[T], &[T]) {
        if self.held[1] == Some(first) {
            self.held.swap(0, 1);
            self.data.swap(0, 1);
        }
        for (slot, row) in [first, second].into_iter().enumerate() {
            if self.held[slot] != Some(row) {
                if self.held[1 - slot] == Some(row) {
                    let [a, b] = &mut self.data;
                    if slot == 0 { a.copy_from_slice(b) } else { b.copy_from_slice(a) }
                } else {
                    compute(row, &mut self.data[slot]);
                }
                self.held[slot] = Some(row);
            }
        }
        (&self.data[0], &self.data[1])
    }
}

/// `cv2.resize(image, (width, height), interpolation=INTER_LINEAR)` of 8-bit pixels, planar.
pub(super) fn resize_u8(image: Image, size: (u32, u32)) -> Planes<u8> {
    let (height, width) = (size.0 as usize, size.1 as usize);
    let (from_height, from_width) = (image.height as usize, image.width as usize);
    let channels = image.channels;
    if (from_height, from_width) == (height, width) {
        return planar(image.pixels, channels, height, width);
    }
    let columns: Vec<Column> = horizontal_taps(from_width, width)
        .into_iter()
        .map(|tap| Column::new(tap, from_width))
        .collect();
    let mut out = vec![0; channels * height * width];
    let mut cache = RowCache::<u16>::new(channels * width);
    let mut packed = vec![0; from_width];
    for (y, tap) in taps(from_height, height).enumerate() {
        let (above, below) = cache.pair(rows(tap, from_height), |row, resampled| {
            let stride = from_width * channels;
            let source = &image.pixels[row * stride..(row + 1) * stride];
            if channels == 1 {
                resample_grey(source, &columns, resampled);
            } else {
                resample_rgb(source, &columns, &mut packed, resampled);
            }
        });
        for c in 0..channels {
            let at = (c * height + y) * width;
            let plane = c * width..(c + 1) * width;
            blend(&above[plane.clone()], &below[plane], tap.fixed(), &mut out[at..at + width]);
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
    fn new(tap: Tap, from_width: usize) -> Self {
        let first = tap.index as u32;
        Self { first, second: (first + 1).min(from_width as u32 - 1), weights: tap.fixed() }
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
fn blend(above: &[u16], below: &[u16], (a, b): (u16, u16), out: &mut [u8]) {
    let high = |w: u16, s: u16| ((u32::from(w) * u32::from(s)) >> 16) as u16;
    for ((value, &above), &below) in out.iter_mut().zip(above).zip(below) {
        *value = ((high(a, above) + high(b, below) + 2) >> 2) as u8;
    }
}

/// `cv2.resize` of the image converted to 32-bit floats, planar; values in 0..=255.
pub(super) fn resize_f32(image: &Image, size: (u32, u32)) -> Planes<f32> {
    let (height, width) = (size.0 as usize, size.1 as usize);
    let (from_height, from_width) = (image.height as usize, image.width as usize);
    let channels = image.channels;
    let columns = horizontal_taps(from_width, width);
    let mut out = vec![0.0; channels * height * width];
    let mut cache = RowCache::<f32>::new(channels * width);
    for (y, tap) in taps(from_height, height).enumerate() {
        let (above, below) = cache.pair(rows(tap, from_height), |row, resampled| {
            let stride = from_width * channels;
            let source = &image.pixels[row * stride..(row + 1) * stride];
            resample_f32(source, channels, &columns, resampled);
        });
        let (a, b) = (1.0 - tap.fraction, tap.fraction);
        for c in 0..channels {
            let at = (c * height + y) * width;
            let plane = c * width..(c + 1) * width;
            let (above, below) = (&above[plane.clone()], &below[plane]);
            for ((value, above), below) in out[at..at + width].iter_mut().zip(above).zip(below) {
                *value = above * a + below * b;
            }
        }
    }
    Planes { channels, height, width, data: out }
}

fn resample_f32(source: &[u8], channels: usize, columns: &[Tap], out: &mut [f32]) {
    for (c, plane) in out.chunks_exact_mut(columns.len()).enumerate() {
        for (value, tap) in plane.iter_mut().zip(columns) {
            let at = tap.index as usize * channels + c;
            let first = f32::from(source[at]);
            // The last column has no right neighbour, and no weight for it either.
            let second = f32::from(*source.get(at + channels).unwrap_or(&0));
            *value = first * (1.0 - tap.fraction) + second * tap.fraction;
        }
    }
}

/// Source index of each of `to` output pixels under `INTER_NEAREST`: `floor(i · from / to)`, in
/// OpenCV's arithmetic.
fn nearest_indices(from: usize, to: usize) -> Vec<usize> {
    let scale = 1.0 / (to as f64 / from as f64);
    (0..to).map(|i| ((i as f64 * scale).floor() as usize).min(from - 1)).collect()
}

/// `cv2.resize(mask, (width, height), interpolation=INTER_NEAREST)`; `mask` is `[H, W]`, row-major,
/// of size `from`.
pub(super) fn resize_nearest(mask: &[u8], from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    let columns = nearest_indices(from.1 as usize, to.1 as usize);
    let mut out = Vec::with_capacity(to.0 as usize * columns.len());
    for row in nearest_indices(from.0 as usize, to.0 as usize) {
        let source = &mask[row * from.1 as usize..(row + 1) * from.1 as usize];
        out.extend(columns.iter().map(|&x| source[x]));
    }
    out
}
