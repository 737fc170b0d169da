//! A part that is cut out of an image, and the way back.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// The rectangle that was kept of an image, in pixels of the whole image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Crop {
    /// Row and column of its first pixel.
    pub offset: (u32, u32),
    /// `(height, width)` of the rectangle.
    pub size: (u32, u32),
    /// `(height, width)` of the whole image.
    pub full: (u32, u32),
}

impl Crop {
    /// The rectangle `[x, y, width, height]` of an image of `full` (height, width).
    ///
    /// # Errors
    /// If it has no pixel, or one outside the image.
    pub fn new([x, y, width, height]: [u32; 4], full: (u32, u32)) -> Result<Self> {
        let crop = Self { offset: (y, x), size: (height, width), full };
        crop.check()?;
        Ok(crop)
    }

    /// Checks a rectangle that was read from somewhere.
    ///
    /// # Errors
    /// Same errors as [`new`](Self::new).
    pub fn check(&self) -> Result<()> {
        let fits = |start: u32, side: u32, full: u32| {
            side > 0 && start.checked_add(side).is_some_and(|end| end <= full)
        };
        let (rows, columns) = (
            fits(self.offset.0, self.size.0, self.full.0),
            fits(self.offset.1, self.size.1, self.full.1),
        );
        ensure!(rows && columns, "the rectangle {self:?} is not within its image");
        Ok(())
    }

    /// Whether nothing is cut off.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.size == self.full
    }

    /// Left, top, right and bottom edge in the whole image.
    #[must_use]
    pub fn edges(&self) -> [f64; 4] {
        let (top, left) = (f64::from(self.offset.0), f64::from(self.offset.1));
        [left, top, left + f64::from(self.size.1), top + f64::from(self.size.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_lies_within_its_image() {
        let crop = Crop::new([2, 1, 5, 3], (4, 7)).unwrap();
        assert_eq!((crop.offset, crop.size, crop.is_whole()), ((1, 2), (3, 5), false));
        assert_eq!(crop.edges(), [2.0, 1.0, 7.0, 4.0]);
        assert!(Crop::new([0, 0, 7, 4], (4, 7)).unwrap().is_whole());
        for rect in [[3, 1, 5, 3], [2, 2, 5, 3], [2, 1, 0, 3], [2, 1, 5, 0], [u32::MAX, 0, 2, 2]] {
            assert!(Crop::new(rect, (4, 7)).is_err(), "{rect:?}");
        }
    }
}
