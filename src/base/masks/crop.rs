//! Masks cut with their image, and put back into it.

use std::ops::Range;

use anyhow::{Result, ensure};

use super::{Rle, Segmentation, runs::Runs};
use crate::Crop;

impl Rle {
    /// What is left of the mask of the whole image in the rectangle.
    ///
    /// # Errors
    /// If the mask is of another size than the whole image.
    pub fn cropped(&self, crop: Crop) -> Result<Self> {
        self.of_size(crop.full)?;
        let (top, left) = (crop.offset.0 as usize, crop.offset.1 as usize);
        let (height, width) = (crop.size.0 as usize, crop.size.1 as usize);
        let cut = |x: usize, rows: Range<usize>| {
            let rows = rows.start.max(top)..rows.end.min(top + height);
            let inside = (left..left + width).contains(&x) && !rows.is_empty();
            inside.then(|| (x - left, rows.start - top..rows.end - top))
        };
        Ok(self.moved(crop.size, cut))
    }

    /// The mask of the rectangle as one of the whole image: empty outside.
    ///
    /// # Errors
    /// If the mask is of another size than the rectangle, or the whole image has 2³² pixels or more.
    pub fn embedded(&self, crop: Crop) -> Result<Self> {
        self.of_size(crop.size)?;
        crop.check()?;
        let pixels = u64::from(crop.full.0) * u64::from(crop.full.1);
        ensure!(
            pixels <= u64::from(u32::MAX),
            "an image of {pixels} pixels is too large for a mask"
        );
        let (top, left) = (crop.offset.0 as usize, crop.offset.1 as usize);
        Ok(self.moved(crop.full, |x, rows| Some((x + left, rows.start + top..rows.end + top))))
    }

    /// The mask of `size` whose segments are those that `place` makes of its own, in the same order.
    fn moved(
        &self,
        size: (u32, u32),
        place: impl Fn(usize, Range<usize>) -> Option<(usize, Range<usize>)>,
    ) -> Self {
        let (height, width) = (size.0 as usize, size.1 as usize);
        let mut runs = Runs::default();
        self.for_each_segment(|x, rows| {
            if let Some((x, rows)) = place(x, rows) {
                runs.add(x * height + rows.start..x * height + rows.end);
            }
        });
        Self { height: size.0, width: size.1, counts: runs.finish(height * width) }
    }

    fn of_size(&self, size: (u32, u32)) -> Result<()> {
        ensure!(
            (self.height, self.width) == size,
            "a mask of {}×{} (height×width) where one of {}×{} is expected",
            self.height,
            self.width,
            size.0,
            size.1
        );
        Ok(())
    }
}

impl Segmentation {
    /// What is left in the rectangle. No mask stays none. A polygon becomes run lengths: the pixels that it has
    /// in the whole image.
    ///
    /// # Errors
    /// Same errors as [`rasterize`](Self::rasterize).
    pub fn cropped(&self, crop: Crop) -> Result<Self> {
        Ok(match self {
            Self::None => Self::None,
            other => Self::Runs(other.rasterize(crop.full, [0.0; 4])?.cropped(crop)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Rng;

    #[test]
    fn random_masks_are_cut_and_put_back() {
        for case in 0..300 {
            let mut rng = Rng::at(case, &[]);
            let (height, width) = (1 + rng.below(40) as u32, 1 + rng.below(40) as u32);
            let density = rng.uniform();
            let pixels: Vec<u8> =
                (0..height * width).map(|_| u8::from(rng.uniform() < density)).collect();
            let mask = Rle::from_mask(&pixels, (height, width)).unwrap();
            let (y, x) = (rng.below(height.into()) as u32, rng.below(width.into()) as u32);
            let h = 1 + rng.below((height - y).into()) as u32;
            let w = 1 + rng.below((width - x).into()) as u32;
            let crop = Crop::new([x, y, w, h], (height, width)).unwrap();
            let inside = |i: usize| {
                let (row, column) = (i as u32 / width, i as u32 % width);
                (y..y + h).contains(&row) && (x..x + w).contains(&column)
            };
            let part: Vec<u8> =
                (0..pixels.len()).filter(|&i| inside(i)).map(|i| pixels[i]).collect();
            let cut = mask.cropped(crop).unwrap();
            assert_eq!(cut, Rle::from_mask(&part, (h, w)).unwrap());
            let black: Vec<u8> =
                (0..pixels.len()).map(|i| if inside(i) { pixels[i] } else { 0 }).collect();
            assert_eq!(
                cut.embedded(crop).unwrap(),
                Rle::from_mask(&black, (height, width)).unwrap()
            );
        }
    }

    #[test]
    fn a_polygon_keeps_the_pixels_of_the_whole_image() {
        let polygon = Segmentation::Polygons(vec![vec![1.0, 1.0, 7.0, 1.0, 7.0, 5.0]]);
        let crop = Crop::new([3, 2, 4, 3], (6, 9)).unwrap();
        let pixels = polygon.rasterize((6, 9), [0.0; 4]).unwrap().cropped(crop).unwrap();
        assert!(pixels.area() > 0);
        assert_eq!(polygon.cropped(crop).unwrap(), Segmentation::Runs(pixels));
        assert_eq!(Segmentation::None.cropped(crop).unwrap(), Segmentation::None);
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let crop = Crop::new([0, 0, 2, 2], (3, 3)).unwrap();
        let mask = Rle::new(2, 3, vec![6]).unwrap();
        let error = mask.cropped(crop).unwrap_err().to_string();
        assert!(error.contains("2×3") && error.contains("3×3"), "{error}");
        assert!(mask.embedded(crop).is_err());
    }
}
