//! The part of an image that two masks take up.

use std::ops::Range;

use super::spans::Spans;

/// The joint box of the masks with a margin of one pixel, column-major. Nothing outside matters: there
/// is no foreground, so no border, and the shortest way to a border is straight.
pub(super) struct Frame {
    /// Height of the image.
    image_height: u64,
    y0: u64,
    x0: u64,
    /// With the margin.
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Frame {
    /// At least one of the masks must have a pixel.
    pub(super) fn around(masks: &[&Spans], image_height: u64) -> Self {
        let (mut y0, mut y1, mut x0, mut x1) = (u64::MAX, 0, u64::MAX, 0);
        for &(start, end) in masks.iter().flat_map(|mask| &mask.ranges) {
            let (first, last) = (start / image_height, (end - 1) / image_height);
            let (top, bottom) = if first == last {
                (start % image_height, (end - 1) % image_height)
            } else {
                (0, image_height - 1)
            };
            (x0, x1) = (x0.min(first), x1.max(last));
            (y0, y1) = (y0.min(top), y1.max(bottom));
        }
        let side = |low: u64, high: u64| (high + 1).saturating_sub(low) as usize + 2;
        Self { image_height, y0, x0, height: side(y0, y1), width: side(x0, x1) }
    }

    /// `[y, x]` in the image of the pixel at a place of the frame that is not in the margin.
    pub(super) fn pixel(&self, place: usize) -> [f64; 2] {
        let (x, y) = (place / self.height, place % self.height);
        [(self.y0 + y as u64) as f64 - 1.0, (self.x0 + x as u64) as f64 - 1.0]
    }

    /// Which pixels of the frame are in the mask, and where those are, as runs within a column.
    pub(super) fn raster(&self, mask: &Spans) -> (Vec<bool>, Vec<Range<usize>>) {
        let mut inside = vec![false; self.height * self.width];
        let mut pieces = Vec::with_capacity(mask.ranges.len());
        for &(start, end) in &mask.ranges {
            let mut position = start;
            while position < end {
                let (x, y) = (position / self.image_height, position % self.image_height);
                let length = (self.image_height - y).min(end - position);
                let place = (x - self.x0 + 1) as usize * self.height + (y - self.y0 + 1) as usize;
                inside[place..place + length as usize].fill(true);
                pieces.push(place..place + length as usize);
                position += length;
            }
        }
        (inside, pieces)
    }
}
