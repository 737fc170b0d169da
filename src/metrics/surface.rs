//! Distances between the borders of two masks.
//!
//! The exact Euclidean distance transform in its two passes (Felzenszwalb and Huttenlocher 2012,
//! Meijster et al. 2000), of which the second runs only where a border pixel needs its distance.

use super::{frame::Frame, spans::Spans};

/// Height and width of a pixel, in the unit that the distances should have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spacing {
    pub y: f64,
    pub x: f64,
}

impl Default for Spacing {
    /// Distances in pixels.
    fn default() -> Self {
        Self { y: 1.0, x: 1.0 }
    }
}

impl Spacing {
    /// The distance between rows, and that between columns.
    #[must_use]
    pub fn of([y, x]: [f64; 2]) -> Self {
        Self { y, x }
    }
}

/// Distance to the border of the other mask, for every border pixel of each.
#[derive(Debug, Clone, PartialEq)]
pub struct SurfaceDistances {
    pub from_first: Vec<f64>,
    pub from_second: Vec<f64>,
}

impl SurfaceDistances {
    /// For two masks of the same size, `height` pixels high; neither may be empty.
    pub(super) fn new(first: &Spans, second: &Spans, height: u64, spacing: Spacing) -> Self {
        let frame = Frame::around(&[first, second], height);
        let borders = [first, second].map(|spans| frame.border(spans));
        let distances = |from: usize, to: usize| {
            let steps = frame.steps_to(&borders[to]);
            borders[from].iter().map(|&p| frame.distance(&steps, p, spacing)).collect()
        };
        Self { from_first: distances(0, 1), from_second: distances(1, 0) }
    }

    /// The larger of the two directions' percentiles, `q` in [0, 100], interpolated linearly:
    /// MONAI's and Metrics Reloaded's robust Hausdorff distance.
    #[must_use]
    pub fn percentile(&self, q: f64) -> f64 {
        percentile(&self.from_first, q).max(percentile(&self.from_second, q))
    }

    /// The mean over both directions' distances together: the average symmetric surface distance (ASSD), as MONAI and
    /// Metrics Reloaded define it. medpy's `assd` is the mean of the two directions' means.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let count = self.from_first.len() + self.from_second.len();
        self.from_first.iter().chain(&self.from_second).sum::<f64>() / count as f64
    }

    /// Share of the border pixels of both masks that are within `tolerance` of the other border.
    #[must_use]
    pub fn within(&self, tolerance: f64) -> f64 {
        // Three pixels of 0.1 mm are 0.30000000000000004 mm apart, and within 0.3 mm.
        let limit = tolerance * (1.0 + 1e-9);
        let count = |distances: &[f64]| distances.iter().filter(|d| **d <= limit).count();
        let near = count(&self.from_first) + count(&self.from_second);
        near as f64 / (self.from_first.len() + self.from_second.len()) as f64
    }

    /// The percentile of the pooled distances of both directions, as in medpy's `hd95`.
    #[must_use]
    pub fn pooled_percentile(&self, q: f64) -> f64 {
        percentile(&[&self.from_first[..], &self.from_second].concat(), q)
    }
}

/// Same as `numpy.percentile`; NaN if there are no values.
fn percentile(values: &[f64], q: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let mut values = values.to_vec();
    let place = (values.len() - 1) as f64 * (q / 100.0).clamp(0.0, 1.0);
    let (below, fraction) = (place.floor() as usize, place.fract());
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low + (high - low) * fraction
}

/// No border in this row.
const FAR: u32 = u32::MAX / 2;

impl Frame {
    /// Positions of the pixels with a 4-neighbour outside the mask; beyond the image is outside.
    fn border(&self, mask: &Spans) -> Vec<usize> {
        let (inside, pieces) = self.raster(mask);
        let is_border = |&p: &usize| {
            !(inside[p - 1] && inside[p + 1] && inside[p - self.height] && inside[p + self.height])
        };
        pieces.into_iter().flatten().filter(is_border).collect()
    }

    /// First pass: steps along the row to the nearest border pixel.
    fn steps_to(&self, border: &[usize]) -> Vec<u32> {
        let mut steps = vec![FAR; self.height * self.width];
        for &place in border {
            steps[place] = 0;
        }
        let relax = |to: &mut [u32], from: &[u32]| {
            for (to, from) in to.iter_mut().zip(from) {
                *to = (*to).min(from + 1);
            }
        };
        for x in 1..self.width {
            let (left, right) = steps.split_at_mut(x * self.height);
            relax(&mut right[..self.height], &left[(x - 1) * self.height..]);
        }
        for x in (1..self.width).rev() {
            let (left, right) = steps.split_at_mut(x * self.height);
            relax(&mut left[(x - 1) * self.height..], &right[..self.height]);
        }
        steps
    }

    /// Second pass at one pixel: up and down its column, as far as a shorter distance is possible.
    fn distance(&self, steps: &[u32], place: usize, spacing: Spacing) -> f64 {
        let (x, y) = (place / self.height, place % self.height);
        let column = &steps[x * self.height..][..self.height];
        let squared = |steps: u32| (f64::from(steps) * spacing.x).powi(2);
        let mut best = squared(column[y]);
        for away in 1..self.height {
            let vertical = (away as f64 * spacing.y).powi(2);
            if vertical >= best {
                break;
            }
            for row in [y.checked_sub(away), Some(y + away)].into_iter().flatten() {
                if let Some(&steps) = column.get(row) {
                    best = best.min(vertical + squared(steps));
                }
            }
        }
        best.sqrt()
    }
}
