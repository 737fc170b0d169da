//! Where OpenCV's bilinear interpolation reads: shared by the 8-bit and the float version.

use std::ops::Range;

/// The number 1 in OpenCV's fixed-point coefficients.
const ONE: f32 = 2048.0;

/// Where one output pixel reads along one axis, and how much of each neighbour it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    /// First of two neighbours; −1 to `n − 1` on the vertical axis.
    pub(super) index: i64,
    /// Weight of the second neighbour, in [0, 1).
    pub(super) fraction: f32,
}

impl Tap {
    /// Both weights in fixed point; rounded separately, so their sum may differ from 2048 by one, as in
    /// OpenCV.
    pub(super) fn fixed(self) -> (u16, u16) {
        let fixed = |w: f32| (w * ONE).round_ties_even() as u16;
        (fixed(1.0 - self.fraction), fixed(self.fraction))
    }
}

/// The precision in which OpenCV computes a sampling position: floats for 8-bit images, doubles for
/// float images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Single,
    Double,
}

/// Sampling positions with pixel centres aligned.
pub(super) fn taps(from: usize, to: usize, format: Position) -> impl Iterator<Item = Tap> {
    let scale = match format {
        Position::Single => 1.0 / (to as f64 / from as f64),
        Position::Double => from as f64 / to as f64,
    };
    (0..to).map(move |i| {
        let mut position = (i as f64 + 0.5) * scale - 0.5;
        if format == Position::Single {
            position = f64::from(position as f32);
        }
        let index = position.floor();
        Tap { index: index as i64, fraction: (position - index) as f32 }
    })
}

/// Horizontal taps: at the borders the outer neighbour gets no weight.
pub(super) fn horizontal_taps(
    from: usize,
    to: usize,
    format: Position,
) -> impl Iterator<Item = Tap> {
    let last = from as i64 - 1;
    taps(from, to, format).map(move |tap| {
        if (0..last).contains(&tap.index) {
            tap
        } else {
            Tap { index: tap.index.clamp(0, last), fraction: 0.0 }
        }
    })
}

/// Source columns of `from` that `taps`, in ascending order, read.
pub(super) fn columns_read(taps: &[Tap], from: usize) -> Range<usize> {
    let (first, last) = (taps.first().map_or(0, |t| t.index), taps.last().map_or(0, |t| t.index));
    first as usize..(last as usize + 2).min(from)
}

/// Vertical neighbours: weights are kept and both rows clamped, unlike the horizontal axis.
pub(super) fn rows(tap: Tap, height: usize) -> (usize, usize) {
    let last = height as i64 - 1;
    (tap.index.clamp(0, last) as usize, (tap.index + 1).clamp(0, last) as usize)
}

/// Caches the two source rows in use, resampled horizontally, so that each is computed once.
pub(super) struct RowCache<T> {
    held: [Option<usize>; 2],
    data: [Vec<T>; 2],
}

impl<T: Copy> RowCache<T> {
    pub(super) fn new(length: usize, zero: T) -> Self {
        Self { held: [None; 2], data: [vec![zero; length], vec![zero; length]] }
    }

    /// Both rows; `compute` fills one that is not cached yet.
    #[inline(always)]
    pub(super) fn pair(
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
