//! Sizes of one mask: area, diameters, and the ellipse that fits its outline.
//!
//! The outline is the set of the middles of all pixel edges between the mask and the background around it, as
//! contours at level 0.5 are. It lies on the true border, half a pixel beyond the centres of the border pixels, so that a
//! filled disc measures what was drawn. Holes do not count, except in the area.

mod diameters;
mod ellipse;
mod outline;

use anyhow::Result;
use serde::Serialize;
use sonotune_base::Rle;

pub use self::ellipse::Ellipse;
use self::outline::Outline;
use super::{
    overlap::{Spacing, check_spacing},
    spans::Spans,
};

/// Sizes of a mask, in units of a [`Spacing`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Shape {
    /// Area of its pixels, in squares of the unit.
    pub area: f64,
    /// The largest distance of two points of the outline (maximum Feret diameter).
    pub max_diameter: f64,
    /// The smallest distance of two parallel lines with the mask between them (minimum Feret diameter).
    pub min_diameter: f64,
    /// See [`Ellipse::fit`]; `None` if the outline determines no ellipse, as that of a few pixels.
    pub ellipse: Option<Ellipse>,
}

impl Shape {
    /// The sizes of `mask` in units of `spacing`; `None` if it is empty.
    ///
    /// Where the image's edge cuts the mask off, the ellipse is fitted to the rest of the outline; area and diameters are
    /// those of what is in the image.
    ///
    /// # Errors
    /// If the spacing is not positive.
    pub fn of(mask: &Rle, spacing: Spacing) -> Result<Option<Self>> {
        check_spacing(spacing)?;
        let spans = Spans::of(mask);
        if spans.area == 0 {
            return Ok(None);
        }
        let outline = Outline::of(mask, &spans, spacing);
        let hull = diameters::hull(outline.points());
        Ok(Some(Self {
            area: spans.area as f64 * spacing.y * spacing.x,
            max_diameter: diameters::largest(&hull),
            min_diameter: diameters::smallest(&hull),
            ellipse: Ellipse::fit(&outline.within_image),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels whose centres are in an ellipse with its centre at `(y, x)`, by a half axis along the rows
    /// and one along the columns, turned by `angle`.
    fn ellipse(size: (u32, u32), centre: (f64, f64), (a, b): (f64, f64), angle: f64) -> Rle {
        let (sin, cos) = angle.sin_cos();
        let inside = |i: u32| {
            let (y, x) = (f64::from(i / size.1) - centre.0, f64::from(i % size.1) - centre.1);
            let (along, across) = (x * cos + y * sin, y * cos - x * sin);
            (along / a).powi(2) + (across / b).powi(2) <= 1.0
        };
        let pixels: Vec<u8> = (0..size.0 * size.1).map(|i| u8::from(inside(i))).collect();
        Rle::from_mask(&pixels, size).unwrap()
    }

    fn shape(mask: &Rle, spacing: Spacing) -> Shape {
        Shape::of(mask, spacing).unwrap().unwrap()
    }

    fn assert_close(got: f64, expected: f64, tolerance: f64) {
        assert!((got - expected).abs() <= tolerance, "{got}, expected {expected}");
    }

    #[test]
    fn a_drawn_ellipse_measures_what_was_drawn() {
        for angle in [0.0, 0.4, 1.2, 2.9] {
            let mask = ellipse((260, 300), (131.3, 148.2), (110.0, 70.0), angle);
            let got = shape(&mask, Spacing::default());
            let fitted = got.ellipse.unwrap();
            assert_close(fitted.major, 220.0, 0.3);
            assert_close(fitted.minor, 140.0, 0.3);
            // The complete elliptic integral, 4 a E(1 - b²/a²).
            assert_close(fitted.circumference(), 572.490, 0.6);
            assert_close(got.area, std::f64::consts::PI * 110.0 * 70.0, 30.0);
            assert_close(got.max_diameter, 220.0, 1.0);
            assert_close(got.min_diameter, 140.0, 1.0);
        }
    }

    #[test]
    fn pixels_that_are_not_square_are_measured_in_their_unit() {
        // A circle of 20 mm in pixels of 0.2 x 0.1 mm.
        let mask = ellipse((140, 240), (70.0, 120.0), (100.0, 50.0), 0.0);
        let got = shape(&mask, Spacing { y: 0.2, x: 0.1 });
        let fitted = got.ellipse.unwrap();
        assert_close(fitted.major, 20.0, 0.05);
        assert_close(fitted.minor, 20.0, 0.05);
        assert_close(got.max_diameter, 20.1, 0.11);
        assert_close(got.area, 100.0 * std::f64::consts::PI, 0.5);
    }

    #[test]
    fn an_outline_without_filling_and_one_with_a_hole_are_the_same_outline() {
        let whole = ellipse((160, 200), (80.0, 100.0), (70.0, 50.0), 0.3);
        let hole = ellipse((160, 200), (80.0, 100.0), (67.0, 47.0), 0.3);
        let mut pixels = whole.to_mask();
        pixels.iter_mut().zip(hole.to_mask()).for_each(|(pixel, hole)| *pixel -= hole);
        let ring = Rle::from_mask(&pixels, (160, 200)).unwrap();
        let [whole, ring] = [whole, ring].map(|mask| shape(&mask, Spacing::default()));
        assert_eq!((ring.ellipse, ring.max_diameter), (whole.ellipse, whole.max_diameter));
        assert!(ring.area < whole.area / 5.0);
    }

    #[test]
    fn the_edge_of_the_image_is_no_outline() {
        // A fifth of the ellipse is outside the image.
        let cut = ellipse((160, 200), (80.0, 25.0), (70.0, 50.0), 0.1);
        let got = shape(&cut, Spacing::default());
        let fitted = got.ellipse.unwrap();
        assert_close(fitted.major, 140.0, 1.0);
        assert_close(fitted.minor, 100.0, 1.0);
        assert!(got.max_diameter < 120.0, "{got:?}");
    }

    #[test]
    fn small_and_straight_masks() {
        let of = |rows: &[&str]| {
            let size = (rows.len() as u32, rows[0].len() as u32);
            let pixels: Vec<u8> = rows.concat().bytes().map(|c| u8::from(c == b'#')).collect();
            Shape::of(&Rle::from_mask(&pixels, size).unwrap(), Spacing { y: 2.0, x: 1.0 }).unwrap()
        };
        assert_eq!(of(&["...", "..."]), None);
        let one = of(&["...", ".#.", "..."]).unwrap();
        assert_eq!((one.area, one.max_diameter, one.ellipse), (2.0, 2.0, None));
        let line = of(&[".....", ".###.", "....."]).unwrap();
        assert_eq!((line.area, line.max_diameter, line.min_diameter), (6.0, 3.0, 2.0));
        // Nothing of the outline is left.
        let all = of(&["##", "##"]).unwrap();
        assert_eq!((all.area, all.ellipse), (8.0, None));
    }

    #[test]
    fn a_pixel_without_a_size_is_refused() {
        let mask = ellipse((20, 20), (10.0, 10.0), (5.0, 5.0), 0.0);
        for wrong in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            let error = Shape::of(&mask, Spacing { y: 1.0, x: wrong }).unwrap_err();
            assert!(error.to_string().contains("has no size"), "{error}");
        }
    }
}
