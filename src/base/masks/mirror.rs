//! Masks mirrored left to right.

use std::{cmp::Reverse, ops::Range};

use anyhow::Result;

use super::{Rle, Segmentation, runs::Runs};

impl Rle {
    /// The mask mirrored left to right.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let (height, width) = (self.height as usize, self.width as usize);
        let mut segments: Vec<(usize, Range<usize>)> = Vec::new();
        self.for_each_segment(|x, rows| segments.push((x, rows)));
        segments.sort_by_key(|(x, rows)| (Reverse(*x), rows.start));
        let mut runs = Runs::default();
        for (x, rows) in segments {
            let column = (width - 1 - x) * height;
            runs.add(column + rows.start..column + rows.end);
        }
        Self { height: self.height, width: self.width, counts: runs.finish(height * width) }
    }
}

impl Segmentation {
    /// The mask on an image of `size` (height, width), mirrored left to right with it. No mask stays none.
    /// A polygon becomes run lengths: the mirrored pixels, not the pixels of a mirrored outline.
    ///
    /// # Errors
    /// Same errors as [`rasterize`](Self::rasterize).
    pub fn mirrored(&self, size: (u32, u32)) -> Result<Self> {
        Ok(match self {
            Self::None => Self::None,
            other => Self::Runs(other.rasterize(size, [0.0; 4])?.mirrored()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Rng;

    #[test]
    fn columns_change_places_and_rows_do_not() {
        for seed in 0..40 {
            let mut rng = Rng::at(seed, &[]);
            let (height, width) = (1 + rng.below(6) as u32, 1 + rng.below(7) as u32);
            let mut pixels: Vec<u8> =
                (0..height * width).map(|_| u8::from(rng.below(3) > 0)).collect();
            let mask = Rle::from_mask(&pixels, (height, width)).unwrap();
            pixels.chunks_exact_mut(width as usize).for_each(<[u8]>::reverse);
            let expected = Rle::from_mask(&pixels, (height, width)).unwrap();
            assert_eq!(mask.mirrored(), expected);
            assert_eq!(mask.mirrored().mirrored(), mask);
        }
        for byte in [0, 1] {
            let even = Rle::from_mask(&[byte; 12], (3, 4)).unwrap();
            assert_eq!(even.mirrored(), even);
        }
    }

    #[test]
    fn a_polygon_becomes_its_mirrored_pixels() {
        let size = (4, 6);
        let polygon = Segmentation::Polygons(vec![vec![0.0, 0.0, 3.0, 0.0, 0.0, 3.0]]);
        let pixels = polygon.rasterize(size, [0.0; 4]).unwrap();
        assert!(pixels.area() > 0);
        assert_eq!(polygon.mirrored(size).unwrap(), Segmentation::Runs(pixels.mirrored()));
        assert_eq!(Segmentation::None.mirrored(size).unwrap(), Segmentation::None);
        let other = Segmentation::Runs(pixels).mirrored((4, 7));
        assert!(other.is_err());
    }
}
