//! Run lengths built from foreground in ascending order.

use std::ops::Range;

/// Runs of 0, 1, 0, … so far.
#[derive(Debug, Default)]
pub(super) struct Runs {
    counts: Vec<u32>,
    /// End of the last foreground.
    end: usize,
}

impl Runs {
    /// Adds foreground, not empty and not before what was added.
    pub(super) fn add(&mut self, range: Range<usize>) {
        let length = range.len() as u32;
        match self.counts.last_mut() {
            Some(last) if range.start == self.end => *last += length,
            _ => self.counts.extend([(range.start - self.end) as u32, length]),
        }
        self.end = range.end;
    }

    /// The runs of a mask of that many pixels.
    pub(super) fn finish(mut self, pixels: usize) -> Vec<u32> {
        if self.end < pixels {
            self.counts.push((pixels - self.end) as u32);
        }
        self.counts
    }
}
