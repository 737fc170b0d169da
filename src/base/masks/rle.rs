//! COCO run-length encoding.

use std::ops::Range;

use anyhow::{Result, anyhow, ensure};
use hotcoco::mask;

/// A binary mask as run lengths of 0, 1, 0, … in column-major order; the runs add up to
/// `height · width`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rle {
    pub height: u32,
    pub width: u32,
    pub counts: Vec<u32>,
}

impl Rle {
    /// Creates a mask from runs.
    ///
    /// # Errors
    /// If the runs do not add up to `height · width`.
    pub fn new(height: u32, width: u32, counts: Vec<u32>) -> Result<Self> {
        let rle = Self { height, width, counts };
        rle.check()?;
        Ok(rle)
    }

    /// Decodes COCO's compressed string.
    ///
    /// # Errors
    /// If the string is malformed, or its runs do not add up to `height · width`.
    pub fn from_compressed(height: u32, width: u32, counts: &str) -> Result<Self> {
        // hotcoco refuses runs beyond the mask; the sum reveals a truncated string.
        let rle: Self = mask::rle_from_string(counts, height, width)
            .map_err(|e| anyhow!("RLE counts: {}", reason(&e)))?
            .into();
        rle.check()?;
        Ok(rle)
    }

    /// COCO's compressed string, as pycocotools writes it.
    #[must_use]
    pub fn to_compressed(&self) -> String {
        mask::rle_to_string(&self.clone().into())
    }

    /// Encodes a row-major mask of `(height, width)`; any non-zero byte is foreground.
    ///
    /// # Errors
    /// If the length of the buffer does not match, or the mask has 2³² pixels or more.
    pub fn from_mask(mask: &[u8], (height, width): (u32, u32)) -> Result<Self> {
        let (h, w) = (height as usize, width as usize);
        ensure!(
            Some(mask.len()) == h.checked_mul(w),
            "a mask of {height}×{width} pixels cannot have {} bytes",
            mask.len()
        );
        Self::from_column_major(&transpose(mask, h, w), (height, width))
    }

    /// Encodes a column-major mask of `(height, width)`; any non-zero byte is foreground.
    ///
    /// # Errors
    /// If the length of the buffer does not match, or the mask has 2³² pixels or more.
    pub fn from_column_major(mask: &[u8], (height, width): (u32, u32)) -> Result<Self> {
        Ok(mask::encode(mask, height, width).map_err(|e| anyhow!(reason(&e)))?.into())
    }

    /// Row-major mask of 0 and 1, `height · width` bytes.
    #[must_use]
    pub fn to_mask(&self) -> Vec<u8> {
        let mut mask = vec![0; self.height as usize * self.width as usize];
        self.paint(&mut mask, 1);
        mask
    }

    /// Like [`to_mask`](Self::to_mask), but only the pixels in `rows` and `columns`; pixels outside the
    /// mask are 0.
    #[must_use]
    pub fn to_mask_part(&self, rows: Range<usize>, columns: Range<usize>) -> Vec<u8> {
        let width = columns.len();
        let mut part = vec![0; rows.len() * width];
        self.for_each_segment(|x, segment| {
            if columns.contains(&x) {
                for y in segment.start.max(rows.start)..segment.end.min(rows.end) {
                    part[(y - rows.start) * width + x - columns.start] = 1;
                }
            }
        });
        part
    }

    /// Writes `value` into a row-major buffer of the mask's size wherever the mask is 1; pixels beyond
    /// the end of a shorter buffer are skipped.
    pub fn paint<T: Copy>(&self, buffer: &mut [T], value: T) {
        let w = self.width as usize;
        self.for_each_segment(|x, rows| {
            for y in rows {
                if let Some(pixel) = buffer.get_mut(y * w + x) {
                    *pixel = value;
                }
            }
        });
    }

    /// Calls `visit(x, rows)` for every vertical segment of the foreground, from left to right.
    pub(super) fn for_each_segment(&self, mut visit: impl FnMut(usize, Range<usize>)) {
        let (h, w) = (self.height as usize, self.width as usize);
        let mut position = 0;
        for (i, &count) in self.counts.iter().enumerate() {
            let end = (position + count as usize).min(h * w);
            if i % 2 == 1 {
                while position < end {
                    let (x, y) = (position / h, position % h);
                    let stop = (y + end - position).min(h);
                    visit(x, y..stop);
                    position += stop - y;
                }
            }
            position = end;
        }
    }

    /// Number of foreground pixels.
    #[must_use]
    pub fn area(&self) -> u64 {
        self.counts.iter().skip(1).step_by(2).map(|&c| u64::from(c)).sum()
    }

    /// Mean column and row of the foreground, `None` for an empty mask.
    #[must_use]
    pub fn centroid(&self) -> Option<(f64, f64)> {
        let (mut count, mut columns, mut rows) = (0u64, 0u64, 0u64);
        self.for_each_segment(|x, span| {
            let length = (span.end - span.start) as u64;
            count += length;
            columns += length * x as u64;
            // Sum of an arithmetic series: length · (first + last) / 2, always an integer.
            rows += length * (span.start + span.end - 1) as u64 / 2;
        });
        let mean = |sum: u64| sum as f64 / count as f64;
        (count > 0).then(|| (mean(columns), mean(rows)))
    }

    /// `(x, y)` of the `nth` foreground pixel (from 0), column by column.
    #[must_use]
    pub fn nth_pixel(&self, nth: u64) -> Option<(u32, u32)> {
        let (mut before, mut position) = (0u64, 0u64);
        for (i, &count) in self.counts.iter().enumerate() {
            let count = u64::from(count);
            if i % 2 == 1 {
                if nth < before + count {
                    let at = position + (nth - before);
                    let height = u64::from(self.height);
                    return Some(((at / height) as u32, (at % height) as u32));
                }
                before += count;
            }
            position += count;
        }
        None
    }

    /// Tight box of the foreground, XYWH; zeros for an empty mask.
    #[must_use]
    pub fn bbox(&self) -> [f64; 4] {
        mask::to_bbox(&self.clone().into())
    }

    /// The union of `masks`.
    ///
    /// # Errors
    /// If `masks` is empty, or they differ in size.
    pub fn union(masks: &[Self]) -> Result<Self> {
        ensure!(!masks.is_empty(), "the union of no masks has no size");
        let masks: Vec<_> = masks.iter().cloned().map(Into::into).collect();
        Ok(mask::merge(&masks, false).map_err(|e| anyhow!(reason(&e)))?.into())
    }

    fn check(&self) -> Result<()> {
        let (sum, pixels) = (
            self.counts.iter().map(|&c| u64::from(c)).sum::<u64>(),
            u64::from(self.height) * u64::from(self.width),
        );
        ensure!(
            sum == pixels,
            "RLE counts cover {sum} pixels, but its size {}×{} (height×width) has {pixels}",
            self.height,
            self.width
        );
        Ok(())
    }
}

impl From<hotcoco::Rle> for Rle {
    fn from(rle: hotcoco::Rle) -> Self {
        Self { height: rle.h, width: rle.w, counts: rle.counts }
    }
}

impl From<Rle> for hotcoco::Rle {
    fn from(rle: Rle) -> Self {
        Self { h: rle.height, w: rle.width, counts: rle.counts }
    }
}

/// hotcoco's message without its own prefix.
pub(super) fn reason(error: &hotcoco::Error) -> String {
    match error {
        hotcoco::Error::InvalidInput(message) => message.clone(),
        other => other.to_string(),
    }
}

/// `[h, w]` → `[w, h]`, in tiles that stay in the cache.
fn transpose(mask: &[u8], h: usize, w: usize) -> Vec<u8> {
    const TILE: usize = 64;
    let mut out = vec![0; mask.len()];
    for y0 in (0..h).step_by(TILE) {
        for x0 in (0..w).step_by(TILE) {
            for y in y0..(y0 + TILE).min(h) {
                for x in x0..(x0 + TILE).min(w) {
                    out[x * h + y] = mask[y * w + x];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Rng;

    /// `0 1 1 / 0 1 0`: columns 00, 11, 10.
    const SMALL: [u8; 6] = [0, 1, 1, 0, 1, 0];

    #[test]
    fn a_small_mask_by_hand() {
        let rle = Rle::from_mask(&SMALL, (2, 3)).unwrap();
        assert_eq!(rle.counts, [2, 3, 1]);
        assert_eq!((rle.area(), rle.bbox()), (3, [1.0, 0.0, 2.0, 2.0]));
        assert_eq!(rle.to_mask(), SMALL);
        assert_eq!(rle.to_compressed(), "231");
        assert_eq!(Rle::from_compressed(2, 3, "231").unwrap(), rle);
    }

    #[test]
    fn random_masks_survive_every_form() {
        for case in 0..300 {
            let mut rng = Rng::at(1, &[case]);
            let (h, w) = (1 + rng.below(90) as u32, 1 + rng.below(90) as u32);
            let density = rng.uniform();
            let mask: Vec<u8> = (0..h * w).map(|_| u8::from(rng.uniform() < density)).collect();
            let rle = Rle::from_mask(&mask, (h, w)).unwrap();
            assert_eq!(rle.to_mask(), mask);
            let (top, left) = (rng.below(h.into()) as usize, rng.below(w.into()) as usize);
            let part = rle.to_mask_part(top..h as usize, left..w as usize);
            let expected: Vec<u8> =
                mask.chunks(w as usize).skip(top).flat_map(|row| row[left..].to_vec()).collect();
            assert_eq!(part, expected);
            assert_eq!(rle.area(), mask.iter().map(|&m| u64::from(m)).sum::<u64>());
            assert_eq!(Rle::from_compressed(h, w, &rle.to_compressed()).unwrap(), rle);
        }
    }

    #[test]
    fn union_is_pixelwise() {
        let a = Rle::from_mask(&[1, 0, 0, 0, 0, 0], (2, 3)).unwrap();
        let b = Rle::from_mask(&SMALL, (2, 3)).unwrap();
        assert_eq!(Rle::union(&[a.clone(), b]).unwrap().to_mask(), [1, 1, 1, 0, 1, 0]);
        assert!(Rle::union(&[]).is_err());
        assert!(Rle::union(&[a, Rle::new(3, 2, vec![6]).unwrap()]).is_err());
    }

    #[test]
    fn runs_that_do_not_fill_the_mask_are_refused() {
        for counts in [vec![], vec![5], vec![7], vec![u32::MAX, u32::MAX, 6]] {
            let error = Rle::new(2, 3, counts.clone()).unwrap_err().to_string();
            assert!(error.contains("has 6"), "{counts:?}: {error}");
        }
        assert!(Rle::new(u32::MAX, u32::MAX, vec![u32::MAX]).is_err());
    }

    #[test]
    fn hostile_strings_are_refused_without_panic() {
        // Truncated, below the alphabet, negative, beyond 32 and 64 bits, beyond ASCII.
        for text in ["", "2", "23", "2\u{1f}1", "2O1", "PPPPPPP8", &"o".repeat(99), "é", "231é"] {
            assert!(Rle::from_compressed(2, 3, text).is_err(), "{text:?}");
        }
        for case in 0..20_000 {
            let mut rng = Rng::at(2, &[case]);
            let text: String =
                (0..rng.below(12)).map(|_| char::from(rng.below(128) as u8)).collect();
            let (h, w) = (rng.below(9) as u32, rng.below(9) as u32);
            if let Ok(rle) = Rle::from_compressed(h, w, &text) {
                assert_eq!(rle.to_mask().len(), (h * w) as usize);
                let _ = rle.bbox();
            }
        }
    }
}
