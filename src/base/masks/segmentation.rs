//! The mask of an object in the form in which the file stores it.

use anyhow::{Result, anyhow, bail, ensure};
use hotcoco::mask;

use super::{Rle, rle::reason};

/// Maximum number of points of an outline on its image, five per pixel: the rasteriser holds them all.
/// A normal outline has a few thousand.
const MAX_OUTLINE_POINTS: f64 = (1u64 << 23) as f64;

/// The mask of an object, not decoded: the decoded masks of a large file would not fit into memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Segmentation {
    /// The file does not have a mask: the box is used instead.
    #[default]
    None,
    /// Polygons `[x0, y0, x1, y1, …]` in original pixels; the mask is their union.
    Polygons(Vec<Vec<f64>>),
    /// COCO's compressed string form with its size.
    Compressed { height: u32, width: u32, counts: Box<str> },
    /// COCO's list form with its size.
    Runs(Rle),
}

impl Segmentation {
    /// The mask on an image of `size` (height, width), as pycocotools rasterises it; if there
    /// is no mask, `bbox` (XYWH, original pixels) filled.
    ///
    /// # Errors
    /// If the stored mask is malformed or has a different size, or the image has 2³² pixels or more.
    pub fn rasterize(&self, size: (u32, u32), bbox: [f64; 4]) -> Result<Rle> {
        let (height, width) = size;
        self.check_size(size)?;
        self.check_outline(size, bbox)?;
        let rasterized = match self {
            Self::Runs(rle) => return Rle::new(height, width, rle.counts.clone()),
            Self::Compressed { counts, .. } => return Rle::from_compressed(height, width, counts),
            Self::Polygons(polygons) => mask::fr_polys(polygons, height, width),
            Self::None => mask::fr_bbox(&bbox, height, width),
        };
        Ok(rasterized.map_err(|e| anyhow!(reason(&e)))?.into())
    }

    /// Checks that [`rasterize`](Self::rasterize) will succeed on an image of `size`, or of any size if
    /// the annotation file does not give one.
    ///
    /// # Errors
    /// If polygons are too short, have an odd number of coordinates or are not finite, or run lengths
    /// do not match their size or that of the image.
    pub fn check(&self, size: Option<(u32, u32)>) -> Result<()> {
        if let Some(size) = size {
            self.check_size(size)?;
            self.check_outline(size, [0.0; 4])?;
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

    /// `(height, width)` of stored run lengths; `None` for polygons.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        match self {
            Self::None | Self::Polygons(_) => None,
            Self::Compressed { height, width, .. } => Some((*height, *width)),
            Self::Runs(rle) => Some((rle.height, rle.width)),
        }
    }

    /// XYWH of the mask; for polygons their extent, as in COCO's own files. `None` without a mask.
    ///
    /// # Errors
    /// If run lengths do not match their size.
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

    /// Area of the mask in pixels; for polygons the sum by the shoelace formula, as in COCO's own
    /// files. `None` without a mask.
    ///
    /// # Errors
    /// If run lengths do not match their size.
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

impl Segmentation {
    /// Refuses outlines that cross a huge image again and again: a file of a few kilobytes could demand
    /// gigabytes of points.
    fn check_outline(&self, size: (u32, u32), [x, y, width, height]: [f64; 4]) -> Result<()> {
        let points: f64 = match self {
            Self::None => {
                outline_points(&[x, y, x + width, y, x + width, y + height, x, y + height], size)
            }
            Self::Polygons(polygons) => polygons.iter().map(|p| outline_points(p, size)).sum(),
            Self::Compressed { .. } | Self::Runs(_) => return Ok(()),
        };
        ensure!(
            points <= MAX_OUTLINE_POINTS,
            "its outline crosses the image of {}×{} (height×width) so often that it has more than \
             {MAX_OUTLINE_POINTS} points",
            size.0,
            size.1
        );
        Ok(())
    }
}

/// An upper bound on the number of points the rasteriser makes of an outline: beside the image it
/// keeps only the points it needs to come back.
fn outline_points(polygon: &[f64], (height, width): (u32, u32)) -> f64 {
    let points = polygon.chunks_exact(2);
    let next = points.clone().cycle().skip(1);
    let longest = |from: f64, to: f64, side: u32| {
        // NaN is refused elsewhere; here it counts as a whole side.
        (to - from).abs().min(f64::from(side) + 4.0)
    };
    points
        .zip(next)
        .map(|(a, b)| 5.0 * (longest(a[0], b[0], width) + longest(a[1], b[1], height)) + 2.0)
        .sum()
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
    fn an_outline_that_crosses_a_huge_image_time_and_again_is_refused() {
        let zigzag: Vec<f64> = (0..2000).map(|i| if i % 4 < 2 { 0.0 } else { 60_000.0 }).collect();
        let zigzag = Segmentation::Polygons(vec![zigzag]);
        assert!(zigzag.check(None).is_ok() && zigzag.check(Some((100, 100))).is_ok());
        let size = (60_000, 60_000);
        let error = zigzag.check(Some(size)).unwrap_err().to_string();
        assert!(error.contains("crosses the image of 60000×60000"), "{error}");
        assert_eq!(zigzag.rasterize(size, [0.0; 4]).unwrap_err().to_string(), error);
        // A box on an image of one row, wider than any.
        let wide = (1, u32::MAX - 1);
        assert!(Segmentation::None.rasterize(wide, [0.0, 0.0, 1e9, 1.0]).is_err());
        // A frame around 100 megapixels passes.
        let frame = Segmentation::Polygons(vec![vec![0.0, 0.0, 1e4, 0.0, 1e4, 1e4, 0.0, 1e4]]);
        assert_eq!(frame.rasterize((10_000, 10_000), [0.0; 4]).unwrap().area(), 100_000_000);
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
