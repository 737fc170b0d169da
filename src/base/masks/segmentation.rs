//! The outline of an object in the form the file gives it.

use anyhow::{Result, anyhow, bail, ensure};
use hotcoco::mask;

use super::{Rle, rle::reason};

/// The outline of an object, undecoded: a large file's masks would not fit into memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Segmentation {
    /// No mask in the file: the box stands for it.
    #[default]
    None,
    /// Each `[x0, y0, x1, y1, …]`, original pixels; the mask is their union.
    Polygons(Vec<Vec<f64>>),
    /// COCO's compressed string form with its size.
    Compressed { height: u32, width: u32, counts: Box<str> },
    /// COCO's list form with its size.
    Runs(Rle),
}

impl Segmentation {
    /// The mask on an image of `size` (height, width), as pycocotools rasterises it; where there
    /// is none, that of `bbox` (XYWH, original pixels).
    ///
    /// # Errors
    /// When the stored mask is malformed or of another size, or the image has 2³² pixels or more.
    pub fn rasterize(&self, size: (u32, u32), bbox: [f64; 4]) -> Result<Rle> {
        let (height, width) = size;
        self.check_size(size)?;
        let rasterized = match self {
            Self::Runs(rle) => return Rle::new(height, width, rle.counts.clone()),
            Self::Compressed { counts, .. } => return Rle::from_compressed(height, width, counts),
            Self::Polygons(polygons) => mask::fr_polys(polygons, height, width),
            Self::None => mask::fr_bbox(&bbox, height, width),
        };
        Ok(rasterized.map_err(|e| anyhow!(reason(&e)))?.into())
    }

    /// Whether [`rasterize`](Self::rasterize) will succeed on an image of `size`, or of any size
    /// that the annotation file did not tell.
    ///
    /// # Errors
    /// When polygons are too short, uneven or not finite, or run lengths do not fit their size or
    /// that of the image.
    pub fn check(&self, size: Option<(u32, u32)>) -> Result<()> {
        if let Some(size) = size {
            self.check_size(size)?;
        }
        match self {
            Self::None => Ok(()),
            Self::Polygons(polygons) => polygons.iter().try_for_each(|p| check_polygon(p)),
            Self::Compressed { height, width, counts } => {
                Rle::from_compressed(*height, *width, counts).map(drop)
            }
            Self::Runs(rle) => Rle::new(rle.height, rle.width, rle.counts.clone()).map(drop),
        }
    }

    /// `(height, width)` of stored run lengths; polygons have none.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        match self {
            Self::None | Self::Polygons(_) => None,
            Self::Compressed { height, width, .. } => Some((*height, *width)),
            Self::Runs(rle) => Some((rle.height, rle.width)),
        }
    }

    /// XYWH of the mask: of polygons their extent, as COCO's own files have it. `None` without one.
    ///
    /// # Errors
    /// When run lengths do not fit their size.
    pub fn bbox(&self) -> Result<Option<[f64; 4]>> {
        if let Self::Polygons(polygons) = self {
            let extent = |offset: usize| {
                let coordinates =
                    || polygons.iter().flat_map(move |p| p.iter().skip(offset).step_by(2));
                let lowest = coordinates().copied().fold(f64::INFINITY, f64::min);
                (lowest, coordinates().copied().fold(f64::NEG_INFINITY, f64::max) - lowest)
            };
            let ((x, width), (y, height)) = (extent(0), extent(1));
            return Ok(Some([x, y, width, height]));
        }
        let Some(size) = self.size() else { return Ok(None) };
        Ok(Some(self.rasterize(size, [0.0; 4])?.bbox()))
    }

    /// Area of the mask in pixels: of polygons the sum by the shoelace formula, as COCO's own files
    /// have it. `None` without one.
    ///
    /// # Errors
    /// When run lengths do not fit their size.
    pub fn area(&self) -> Result<Option<f64>> {
        if let Self::Polygons(polygons) = self {
            return Ok(Some(polygons.iter().map(|p| shoelace(p)).sum()));
        }
        let Some(size) = self.size() else { return Ok(None) };
        Ok(Some(self.rasterize(size, [0.0; 4])?.area() as f64))
    }

    fn check_size(&self, size: (u32, u32)) -> Result<()> {
        let (height, width) = size;
        match self.size() {
            Some((h, w)) if (h, w) != size => bail!(
                "segmentation size is {h}×{w} (height×width), but its image has {height}×{width}"
            ),
            _ => Ok(()),
        }
    }
}

fn shoelace(polygon: &[f64]) -> f64 {
    let points: Vec<(f64, f64)> = polygon.chunks_exact(2).map(|p| (p[0], p[1])).collect();
    let next = points.iter().cycle().skip(1);
    points.iter().zip(next).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>().abs() / 2.0
}

fn check_polygon(polygon: &[f64]) -> Result<()> {
    ensure!(
        polygon.len() >= 6 && polygon.len().is_multiple_of(2),
        "a polygon needs at least 3 points, as x and y in turn; got {} numbers",
        polygon.len()
    );
    ensure!(polygon.iter().all(|c| c.is_finite()), "a polygon has a coordinate that is not finite");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_covers_its_pixels() {
        let square = Segmentation::Polygons(vec![vec![1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0]]);
        let rle = square.rasterize((5, 6), [0.0; 4]).unwrap();
        assert_eq!((rle.area(), rle.bbox()), (6, [1.0, 1.0, 3.0, 2.0]));
    }

    #[test]
    fn box_and_area_of_a_triangle() {
        let triangle = Segmentation::Polygons(vec![vec![1.0, 2.0, 5.0, 2.0, 5.0, 5.0]]);
        assert_eq!(triangle.bbox().unwrap(), Some([1.0, 2.0, 4.0, 3.0]));
        assert_eq!(triangle.area().unwrap(), Some(6.0));
        assert_eq!(Segmentation::None.bbox().unwrap(), None);
    }

    #[test]
    fn without_a_mask_the_box_stands_for_it() {
        let rle = Segmentation::None.rasterize((5, 6), [1.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((rle.area(), rle.bbox()), (6, [1.0, 1.0, 3.0, 2.0]));
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let stored = Segmentation::Compressed { height: 2, width: 3, counts: "231".into() };
        assert!(stored.check(None).is_ok() && stored.check(Some((2, 3))).is_ok());
        let error = stored.rasterize((3, 2), [0.0; 4]).unwrap_err().to_string();
        assert!(error.contains("2×3") && error.contains("3×2"), "{error}");
    }

    #[test]
    fn hostile_polygons_neither_pass_nor_panic() {
        for polygon in
            [vec![], vec![1.0; 4], vec![1.0; 7], vec![f64::NAN; 6], vec![f64::INFINITY; 6]]
        {
            assert!(Segmentation::Polygons(vec![polygon.clone()]).check(None).is_err());
            let _ = Segmentation::Polygons(vec![polygon]).rasterize((9, 9), [0.0; 4]);
        }
        let far = Segmentation::Polygons(vec![vec![-1e300, 0.0, 1e300, 1e300, 3.0, -1e300]]);
        assert_eq!(far.rasterize((9, 9), [0.0; 4]).unwrap().to_mask().len(), 81);
        assert!(Segmentation::None.rasterize((u32::MAX, u32::MAX), [0.0; 4]).is_err());
        assert!(Segmentation::None.rasterize((4, 4), [f64::NAN; 4]).is_ok());
    }
}
