//! Boundary IoU (Cheng et al., CVPR 2021): agreement of the bands along the borders of two masks, which stays
//! sensitive to the border when the masks are large.

use anyhow::{Result, ensure};
use sonotune_base::Rle;

use super::{
    frame::Frame,
    overlap::{Spacing, check_spacing, same_size},
    spans::Spans,
};

/// How wide the band along the border of a mask is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BoundaryWidth {
    /// A share of the image's diagonal, rounded to whole pixels, at least 1. The paper uses 0.02.
    Diagonal(f64),
    /// A distance in the unit of the spacing, rounded to whole pixels in each direction, at least 1.
    Distance(f64, Spacing),
}

impl Default for BoundaryWidth {
    fn default() -> Self {
        Self::Diagonal(0.02)
    }
}

impl BoundaryWidth {
    /// Pixels `[vertical, horizontal]`.
    fn pixels(self, height: u32, width: u32) -> Result<[usize; 2]> {
        let (band, [y, x]) = match self {
            Self::Diagonal(share) => {
                let pixels = share * f64::from(height).hypot(f64::from(width));
                (share, [pixels, pixels])
            }
            Self::Distance(distance, spacing) => {
                check_spacing(spacing)?;
                (distance, [distance / spacing.y, distance / spacing.x])
            }
        };
        ensure!(
            band.is_finite() && band > 0.0,
            "a boundary {band} wide has no pixels: expected a positive number"
        );
        // Half to even, as Python's `round` in the reference. More than the image changes nothing.
        let whole =
            |pixels: f64, side: u32| pixels.round_ties_even().clamp(1.0, f64::from(side.max(1)));
        Ok([whole(y, height) as usize, whole(x, width) as usize])
    }
}

/// Intersection over union of the bands of two masks: of each, the pixels within `width` of its border,
/// from inside. Distances are those of a square (the larger of vertical and horizontal), and beyond the
/// image is outside, as in the authors' code. In [0, 1]; `None` when both masks are empty, 0 when one is.
///
/// # Errors
/// If the masks differ in size, or the width or spacing is not positive.
pub fn boundary_iou(first: &Rle, second: &Rle, width: BoundaryWidth) -> Result<Option<f64>> {
    same_size(first, second)?;
    let reach = width.pixels(first.height, first.width)?;
    let masks = [first, second].map(Spans::of);
    if masks.iter().all(|mask| mask.area == 0) {
        return Ok(None);
    }
    let frame = Frame::around(&[&masks[0], &masks[1]], u64::from(first.height));
    let [first, second] = masks.map(|mask| band(&frame, &frame.raster(&mask).0, reach));
    let count = |both: fn(bool, bool) -> bool| {
        first.iter().zip(&second).filter(|(a, b)| both(**a, **b)).count() as f64
    };
    Ok(Some(count(|a, b| a && b) / count(|a, b| a || b)))
}

/// The pixels of a mask within `reach` of its outside.
fn band(frame: &Frame, inside: &[bool], [vertical, horizontal]: [usize; 2]) -> Vec<bool> {
    // Column-major: neighbours in a column are adjacent.
    let along_columns = eroded(inside, frame.height, 1, vertical);
    let core = eroded(&along_columns, frame.width, frame.height, horizontal);
    inside.iter().zip(core).map(|(&inside, core)| inside && !core).collect()
}

/// Pixels whose neighbours up to `reach` away along lines are all set. Lines have `length` pixels,
/// `stride` apart; beyond their ends nothing is set.
fn eroded(pixels: &[bool], length: usize, stride: usize, reach: usize) -> Vec<bool> {
    let mut core = vec![false; pixels.len()];
    let lines = pixels.len() / length.max(1);
    for line in 0..lines {
        let start = if stride == 1 { line * length } else { line };
        let mut run = 0;
        for place in 0..=length {
            if place < length && pixels[start + place * stride] {
                run += 1;
                continue;
            }
            // The run that ends here, but for `reach` pixels at either end.
            for middle in (place - run + reach)..place.saturating_sub(reach) {
                core[start + middle * stride] = true;
            }
            run = 0;
        }
    }
    core
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(size: u32, from: u32, to: u32) -> Rle {
        let inside = |i: u32| (from..to).contains(&(i / size)) && (from..to).contains(&(i % size));
        let pixels: Vec<u8> = (0..size * size).map(|i| u8::from(inside(i))).collect();
        Rle::from_mask(&pixels, (size, size)).unwrap()
    }

    #[test]
    fn squares_by_hand() {
        // The diagonal of 100 x 100 pixels is 141.4, so the band is 3 pixels wide.
        let (large, small) = (square(100, 10, 90), square(100, 11, 89));
        let bands = (80 * 80 - 74 * 74, 78 * 78 - 72 * 72);
        let shared = 78 * 78 - 74 * 74;
        let expected = f64::from(shared) / f64::from(bands.0 + bands.1 - shared);
        let got = boundary_iou(&large, &small, BoundaryWidth::default()).unwrap().unwrap();
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
        // 0.3 mm of pixels 0.1 mm large.
        let width = BoundaryWidth::Distance(0.3, Spacing { y: 0.1, x: 0.1 });
        assert_eq!(boundary_iou(&large, &small, width).unwrap(), Some(got));
    }

    #[test]
    fn the_edge_of_the_image_is_a_border() {
        let all = square(10, 0, 10);
        let ring = boundary_iou(&all, &square(10, 1, 10), BoundaryWidth::Diagonal(0.1)).unwrap();
        // Bands one pixel wide: 36 and 32 pixels, which share the 17 on the lower and right edge.
        assert_eq!(ring, Some(17.0 / 51.0));
    }

    #[test]
    fn the_rule_for_empty_masks_and_what_is_refused() {
        let (empty, full) = (square(8, 0, 0), square(8, 0, 8));
        let width = BoundaryWidth::default();
        assert_eq!(boundary_iou(&empty, &empty, width).unwrap(), None);
        assert_eq!(boundary_iou(&empty, &full, width).unwrap(), Some(0.0));
        assert_eq!(boundary_iou(&full, &full, width).unwrap(), Some(1.0));
        let wide = BoundaryWidth::Diagonal(1e300);
        assert_eq!(boundary_iou(&full, &square(8, 0, 4), wide).unwrap(), Some(0.25));
        assert!(boundary_iou(&full, &square(9, 0, 9), width).is_err());
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = boundary_iou(&full, &full, BoundaryWidth::Diagonal(wrong)).unwrap_err();
            assert!(error.to_string().contains("expected a positive number"), "{error}");
            let flat = BoundaryWidth::Distance(1.0, Spacing { y: wrong, x: 1.0 });
            assert!(boundary_iou(&full, &full, flat).is_err());
        }
    }
}
