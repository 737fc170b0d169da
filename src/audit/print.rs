//! Perceptual hashes, by which images are recognised.
//!
//! The perceptual hash consists of the signs of the 8×8 lowest frequencies of the discrete cosine
//! transform (type II) of the image, averaged to 32×32 grey levels; the mean, whose sign is always the
//! same, is left out, which leaves 63 bits. Mirroring negates the odd frequencies of one axis, and
//! transposing swaps the axes, so the hashes of all eight orientations come from one transform.

use std::{f32::consts::PI, sync::OnceLock};

use serde::Serialize;
use sha2::{Digest, Sha256};
use sonotune_base::image_io::Image;

/// Largest distance that the search supports.
pub const MAX_DISTANCE: u32 = 10;

/// Side of the averaged image.
const SIDE: usize = 32;
/// Number of frequencies along each axis.
const LOW: usize = 8;
/// Side of the miniature.
const MINI: usize = 16;
/// Minimum correlation of the miniatures of near duplicates.
pub const MIN_CORRELATION: f32 = 0.97;

/// One of the eight ways to turn an image by multiples of 90°, mirrored or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    None,
    /// Left and right swapped.
    FlipHorizontal,
    /// Top and bottom swapped.
    FlipVertical,
    Rotate180,
    /// Rows and columns swapped.
    Transpose,
    /// By 90° clockwise.
    Rotate90,
    /// By 90° counter-clockwise.
    Rotate270,
    /// Rows and columns swapped, both counted from the end.
    Transverse,
}

impl Turn {
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::FlipHorizontal,
        Self::FlipVertical,
        Self::Rotate180,
        Self::Transpose,
        Self::Rotate90,
        Self::Rotate270,
        Self::Transverse,
    ];

    /// A description for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "unchanged",
            Self::FlipHorizontal => "mirrored",
            Self::FlipVertical => "upside down",
            Self::Rotate180 => "rotated by 180°",
            Self::Transpose => "transposed",
            Self::Rotate90 => "rotated by 90°",
            Self::Rotate270 => "rotated by 270°",
            Self::Transverse => "transposed along the other diagonal",
        }
    }

    /// Whether to transpose, then mirror vertically, then mirror horizontally.
    fn steps(self) -> (bool, bool, bool) {
        match self {
            Self::None => (false, false, false),
            Self::FlipHorizontal => (false, false, true),
            Self::FlipVertical => (false, true, false),
            Self::Rotate180 => (false, true, true),
            Self::Transpose => (true, false, false),
            Self::Rotate90 => (true, false, true),
            Self::Rotate270 => (true, true, false),
            Self::Transverse => (true, true, true),
        }
    }
}

/// Fingerprint of an image.
#[derive(Debug, Clone)]
pub struct Print {
    /// SHA-256 of size and pixels; grey stored as three equal channels counts as grey.
    pub pixels: [u8; 32],
    /// Hashes of the image turned each way, in the order of [`Turn::ALL`].
    pub hashes: [u64; 8],
    mini: [u8; MINI * MINI],
}

impl Print {
    /// Fingerprint of an image that [`Image::into_grey_if_equal`] returned.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let mut hasher = Sha256::new();
        for size in [image.height, image.width, image.channels as u32] {
            hasher.update(size.to_le_bytes());
        }
        hasher.update(&image.pixels);
        let small = averaged(image);
        let mut mini = [0; MINI * MINI];
        const STEP: usize = SIDE / MINI;
        for (i, pixel) in mini.iter_mut().enumerate() {
            let (y, x) = (i / MINI * STEP, i % MINI * STEP);
            let block = (0..STEP * STEP).map(|k| small[(y + k / STEP) * SIDE + x + k % STEP]);
            *pixel = (block.sum::<f32>() / (STEP * STEP) as f32).round() as u8;
        }
        let low = low_frequencies(&small);
        Self {
            pixels: hasher.finalize().into(),
            hashes: Turn::ALL.map(|turn| hash(&low, turn)),
            mini,
        }
    }

    /// The turn of this image whose hash is nearest to that of `other`, and the number of differing
    /// bits.
    #[must_use]
    pub fn nearest_turn(&self, other: &Self) -> (Turn, u32) {
        let distance = |turn: usize| (self.hashes[turn] ^ other.hashes[0]).count_ones();
        let best = (0..8).min_by_key(|&turn| distance(turn)).unwrap_or_default();
        (Turn::ALL[best], distance(best))
    }

    /// If some turn of this image looks like `other`, that turn and the number of differing bits: at
    /// most `distance` of 63 bits differ and the miniatures correlate.
    #[must_use]
    pub fn looks_like(&self, other: &Self, distance: u32) -> Option<(Turn, u32)> {
        let bits = |turn: usize| (self.hashes[turn] ^ other.hashes[0]).count_ones();
        let near = |&turn: &usize| {
            bits(turn) <= distance && self.correlation(turn, other) >= MIN_CORRELATION
        };
        let best = (0..8).filter(near).min_by_key(|&turn| bits(turn))?;
        Some((Turn::ALL[best], bits(best)))
    }

    /// Correlation of this image's miniature, turned, with that of `other`; 1 for two blank ones.
    pub fn correlation(&self, turn: usize, other: &Self) -> f32 {
        let (transposed, vertical, horizontal) = Turn::ALL[turn].steps();
        let turned = |i: usize| {
            let (mut y, mut x) = (i / MINI, i % MINI);
            if vertical {
                y = MINI - 1 - y;
            }
            if horizontal {
                x = MINI - 1 - x;
            }
            self.mini[if transposed { x * MINI + y } else { y * MINI + x }]
        };
        // Integers suffice: 256 products of 16 bits.
        let (mut a, mut b, mut aa, mut bb, mut ab) = (0u32, 0u32, 0u32, 0u32, 0u32);
        for (i, &q) in other.mini.iter().enumerate() {
            let (p, q) = (u32::from(turned(i)), u32::from(q));
            (a, b, aa, bb, ab) = (a + p, b + q, aa + p * p, bb + q * q, ab + p * q);
        }
        let n = (MINI * MINI) as f32;
        let [a, b, aa, bb, ab] = [a, b, aa, bb, ab].map(|sum| sum as f32 / n);
        let (var_a, var_b) = (aa - a * a, bb - b * b);
        if var_a < 0.5 || var_b < 0.5 {
            // A blank image is only like another blank one of the same brightness.
            let alike = var_a < 0.5 && var_b < 0.5 && (a - b).abs() < 2.0;
            return if alike { 1.0 } else { 0.0 };
        }
        (ab - a * b) / (var_a * var_b).sqrt()
    }
}

/// Grey levels averaged down to 32×32 pixels, row-major.
fn averaged(image: &Image) -> Vec<f32> {
    let (height, width) = (image.height as usize, image.width as usize);
    // Rows are averaged first: one multiplication per pixel, in memory order.
    let mut bands = vec![0.0f64; SIDE * width];
    let mut grey = vec![0.0f32; width];
    let rows_of_band = height as f64 / SIDE as f64;
    for (y, line) in image.pixels.chunks_exact(width * image.channels).enumerate() {
        fill_grey(&mut grey, line, image.channels);
        let (top, bottom) = (y as f64 / rows_of_band, (y + 1) as f64 / rows_of_band);
        for band in top as usize..(bottom.ceil() as usize).min(SIDE) {
            let share = (bottom.min((band + 1) as f64) - top.max(band as f64)).max(0.0);
            for (sum, value) in bands[band * width..][..width].iter_mut().zip(&grey) {
                *sum += share * f64::from(*value);
            }
        }
    }
    let bands: Vec<f32> = bands.into_iter().map(|mean| mean as f32).collect();
    bands.chunks_exact(width).flat_map(averaged_line).collect()
}

/// Grey levels of a line of pixels.
fn fill_grey(grey: &mut [f32], line: &[u8], channels: usize) {
    if channels == 3 {
        for (value, p) in grey.iter_mut().zip(line.chunks_exact(3)) {
            *value = 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        }
    } else {
        for (value, pixel) in grey.iter_mut().zip(line.iter().step_by(channels)) {
            *value = f32::from(*pixel);
        }
    }
}

/// Means over 32 equal parts of a line; a pixel on an edge counts proportionally.
fn averaged_line(values: &[f32]) -> [f32; SIDE] {
    let length = values.len();
    let part = length as f64 / SIDE as f64;
    let mut sum = 0.0;
    let mut at = 0;
    // Integral up to a fractional position; positions ascend.
    let mut integral = |position: f64| {
        while at < length && (at + 1) as f64 <= position {
            sum += f64::from(values[at]);
            at += 1;
        }
        let rest = values.get(at).map_or(0.0, |&v| f64::from(v) * (position - at as f64));
        sum + rest
    };
    let mut before = 0.0;
    std::array::from_fn(|i| {
        let upto = integral((i + 1) as f64 * part);
        let mean = (upto - before) / part;
        before = upto;
        mean as f32
    })
}

/// `[frequency along y][frequency along x]`.
fn low_frequencies(small: &[f32]) -> [[f32; LOW]; LOW] {
    static COSINES: OnceLock<[[f32; SIDE]; LOW]> = OnceLock::new();
    let cosines = COSINES.get_or_init(|| {
        let cosine = |k: usize, n: usize| (PI / SIDE as f32 * (n as f32 + 0.5) * k as f32).cos();
        std::array::from_fn(|k| std::array::from_fn(|n| cosine(k, n)))
    });
    let dot = |a: &[f32; SIDE], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    // Along x, then along y.
    let along_x: [[f32; SIDE]; LOW] = std::array::from_fn(|v| {
        std::array::from_fn(|y| dot(&cosines[v], &small[y * SIDE..(y + 1) * SIDE]))
    });
    std::array::from_fn(|u| std::array::from_fn(|v| dot(&cosines[u], &along_x[v])))
}

fn hash(low: &[[f32; LOW]; LOW], turn: Turn) -> u64 {
    let (transposed, vertical, horizontal) = turn.steps();
    let mut hash = 0;
    for i in 1..LOW * LOW {
        let (u, v) = (i / LOW, i % LOW);
        let value = if transposed { low[v][u] } else { low[u][v] };
        let negated = (vertical && u % 2 == 1) != (horizontal && v % 2 == 1);
        let value = if negated { -value } else { value };
        hash |= u64::from(value > 0.0) << i;
    }
    hash
}
