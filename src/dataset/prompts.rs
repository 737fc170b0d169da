//! Prompts: what to ask a promptable model about an image.

use anyhow::Result;

use sonotune_base::{Error, Size};
use sonotune_base::{Rle, Segmentation};

/// Prompts for one image; they replace those that a task derives from annotations.
#[derive(Debug, Clone, PartialEq)]
pub enum ImagePrompts {
    /// One answer per prompt.
    Objects(Vec<ObjectPrompt>),
    /// Everything in the image: the task chooses its own points.
    Everything,
}

/// Everything that points at one object. Points, box and mask may be combined; at least one is
/// present.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectPrompt {
    /// The caller's name for it, returned with the answer.
    pub name: Option<String>,
    /// Category index of the answer; the first category if absent.
    pub category: Option<usize>,
    pub points: Vec<PointPrompt>,
    /// XYXY, original pixels; the right and bottom edges are exclusive, so `[0, 0, width, height]`
    /// is the whole image.
    pub bbox: Option<[f64; 4]>,
    /// Original pixels, e.g. an earlier answer.
    pub mask: Option<Segmentation>,
}

/// A click.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointPrompt {
    /// Original pixels; integers are pixel centres.
    pub x: f64,
    pub y: f64,
    /// Whether the click is on the object, or on something that does not belong to it.
    pub positive: bool,
}

impl ObjectPrompt {
    /// Checks that the points are inside, and the box overlaps, an image of `size` (original pixels).
    /// A network's input may be padded, but no prompt can point into the padding.
    ///
    /// # Errors
    /// A data error if there is no prompt at all, a point is outside, or the box has no extent or
    /// covers no pixel of the image.
    pub fn check(&self, size: Size) -> Result<()> {
        let (height, width) = size;
        if self.points.is_empty() && self.bbox.is_none() && self.mask.is_none() {
            return self.fault("it has neither point nor box nor mask", size);
        }
        let inside = |v: f64, side: i64| v >= -0.5 && v < side as f64;
        for PointPrompt { x, y, .. } in &self.points {
            if !inside(*x, width) || !inside(*y, height) {
                return self.fault(&format!("point ({x}, {y}) lies outside the image"), size);
            }
        }
        let Some([x0, y0, x1, y1]) = self.bbox else { return Ok(()) };
        let shown = format!("box [{x0}, {y0}, {x1}, {y1}]");
        if [x0, y0, x1, y1].iter().any(|v| !v.is_finite()) {
            return self.fault(&format!("{shown} is not four finite numbers"), size);
        }
        if x0 >= x1 || y0 >= y1 {
            let what = format!("{shown} has no extent: [x0, y0, x1, y1] with x0 < x1 and y0 < y1");
            return self.fault(&what, size);
        }
        if x1 <= 0.0 || y1 <= 0.0 || x0 >= width as f64 || y0 >= height as f64 {
            return self.fault(&format!("{shown} covers no pixel of the image"), size);
        }
        Ok(())
    }

    /// The mask for an image of `size`, if there is one.
    ///
    /// # Errors
    /// A data error if it has a different size, is malformed, or has no pixels.
    pub fn rasterized_mask(&self, size: Size) -> Result<Option<Rle>> {
        let Some(mask) = &self.mask else { return Ok(None) };
        let sides = (u32::try_from(size.0)?, u32::try_from(size.1)?);
        match mask.rasterize(sides, [0.0; 4]) {
            Ok(mask) if mask.area() == 0 => self.fault("its mask has no pixel in the image", size),
            Ok(mask) => Ok(Some(mask)),
            Err(error) => self.fault(&format!("mask: {error:#}"), size),
        }
    }

    /// Clips the box to an image of `size`; returns the original box if that changed it.
    pub fn clip_box(&mut self, (height, width): Size) -> Option<[f64; 4]> {
        let given = self.bbox?;
        let [x0, y0, x1, y1] = given;
        let (right, bottom) = (width as f64, height as f64);
        let clipped = [
            x0.clamp(0.0, right),
            y0.clamp(0.0, bottom),
            x1.clamp(0.0, right),
            y1.clamp(0.0, bottom),
        ];
        self.bbox = Some(clipped);
        (clipped != given).then_some(given)
    }

    fn fault<T>(&self, what: &str, (height, width): Size) -> Result<T> {
        let name = self.name.as_deref().map_or_else(String::new, |name| format!("\"{name}\": "));
        let size = format!("the image has {height}x{width} pixels (height x width)");
        Err(Error::data(format!("{name}{what}; {size}")).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = (40, 60);

    fn point(x: f64, y: f64) -> ObjectPrompt {
        let points = vec![PointPrompt { x, y, positive: true }];
        ObjectPrompt { points, ..ObjectPrompt::default() }
    }

    fn with_box(bbox: [f64; 4]) -> ObjectPrompt {
        ObjectPrompt { bbox: Some(bbox), ..ObjectPrompt::default() }
    }

    #[test]
    fn prompts_that_meet_no_pixel_are_refused() {
        for good in [point(0.0, 0.0), point(-0.5, 39.0), point(59.9, 39.9)] {
            good.check(SIZE).unwrap();
        }
        for (bad, what) in [
            (ObjectPrompt::default(), "neither point nor box nor mask"),
            (point(60.0, 0.0), "(60, 0) lies outside"),
            (point(0.0, 45.0), "(0, 45) lies outside"),
            (point(f64::NAN, 0.0), "lies outside"),
            (with_box([5.0, 5.0, 5.0, 9.0]), "no extent"),
            (with_box([9.0, 5.0, 5.0, 9.0]), "no extent"),
            (with_box([60.0, 0.0, 70.0, 9.0]), "covers no pixel"),
            (with_box([-9.0, 0.0, 0.0, 9.0]), "covers no pixel"),
            (with_box([0.0, 0.0, f64::INFINITY, 9.0]), "finite"),
        ] {
            let named = ObjectPrompt { name: Some("cyst".to_owned()), ..bad };
            let error = named.check(SIZE).unwrap_err().to_string();
            assert!(error.starts_with("\"cyst\": ") && error.contains(what), "{error}");
            assert!(error.contains("40x60"), "{error}");
        }
    }

    #[test]
    fn a_box_partly_outside_is_cut() {
        let mut prompt = with_box([-3.0, 5.0, 70.0, 9.0]);
        prompt.check(SIZE).unwrap();
        assert_eq!(prompt.clip_box(SIZE), Some([-3.0, 5.0, 70.0, 9.0]));
        assert_eq!(prompt.bbox, Some([0.0, 5.0, 60.0, 9.0]));
        assert_eq!(prompt.clip_box(SIZE), None);
    }

    #[test]
    fn masks_of_another_size_or_without_pixels_are_refused() {
        let mask = |mask| ObjectPrompt { mask: Some(mask), ..ObjectPrompt::default() };
        let runs = |height, width, counts| Segmentation::Runs(Rle { height, width, counts });
        assert!(mask(runs(40, 60, vec![0, 2400])).rasterized_mask(SIZE).unwrap().is_some());
        for (bad, what) in [
            (runs(60, 40, vec![0, 2400]), "60×40"),
            (runs(40, 60, vec![2400]), "no pixel"),
            (Segmentation::Polygons(vec![vec![70.0, 1.0, 80.0, 1.0, 80.0, 9.0]]), "no pixel"),
        ] {
            let error = mask(bad).rasterized_mask(SIZE).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
