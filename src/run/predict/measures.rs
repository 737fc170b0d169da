//! Sizes of predicted objects, in millimetres if the size of a pixel is known, else in pixels.

use anyhow::Result;
use serde::Serialize;
use sonotune_base::Rle;
use sonotune_metrics::{
    overlap::Spacing,
    shape::{Ellipse, Shape},
};

/// The sizes of an object; each key says its unit.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Measures {
    Millimetres {
        area_mm2: f64,
        max_diameter_mm: f64,
        min_diameter_mm: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        ellipse: Option<EllipseMm>,
    },
    Pixels {
        area_px2: f64,
        max_diameter_px: f64,
        min_diameter_px: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        ellipse: Option<EllipsePx>,
    },
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct EllipseMm {
    major_mm: f64,
    minor_mm: f64,
    circumference_mm: f64,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct EllipsePx {
    major_px: f64,
    minor_px: f64,
    circumference_px: f64,
}

impl Measures {
    /// The sizes of `mask` on an image with this `[row, column]` of a pixel in millimetres; `None` if it is empty.
    pub(super) fn of(mask: &Rle, spacing: Option<[f64; 2]>) -> Result<Option<Self>> {
        let unit = spacing.map_or_else(Spacing::default, Spacing::of);
        let Some(shape) = Shape::of(mask, unit)? else { return Ok(None) };
        let Shape { area, max_diameter, min_diameter, ellipse } = shape;
        let circumference = |ellipse: &Ellipse| ellipse.circumference();
        Ok(Some(match spacing {
            Some(_) => Self::Millimetres {
                area_mm2: area,
                max_diameter_mm: max_diameter,
                min_diameter_mm: min_diameter,
                ellipse: ellipse.map(|own| EllipseMm {
                    major_mm: own.major,
                    minor_mm: own.minor,
                    circumference_mm: circumference(&own),
                }),
            },
            None => Self::Pixels {
                area_px2: area,
                max_diameter_px: max_diameter,
                min_diameter_px: min_diameter,
                ellipse: ellipse.map(|own| EllipsePx {
                    major_px: own.major,
                    minor_px: own.minor,
                    circumference_px: circumference(&own),
                }),
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_keys_say_the_unit() {
        // A square of 4 x 4 pixels in an image of 6 x 6.
        let inside = |i: usize| (1..5).contains(&(i / 6)) && (1..5).contains(&(i % 6));
        let pixels: Vec<u8> = (0..36).map(|i| u8::from(inside(i))).collect();
        let mask = Rle::from_mask(&pixels, (6, 6)).unwrap();
        let keys = |spacing| {
            let measures = Measures::of(&mask, spacing).unwrap().unwrap();
            serde_json::to_value(measures).unwrap()
        };
        let (px, mm) = (keys(None), keys(Some([0.5, 0.5])));
        assert_eq!((&px["area_px2"], &px["min_diameter_px"]), (&json!(16.0), &json!(4.0)));
        assert_eq!((&mm["area_mm2"], &mm["min_diameter_mm"]), (&json!(4.0), &json!(2.0)));
        let of = |value: &serde_json::Value, key: &str| value["ellipse"][key].as_f64().unwrap();
        let ratio = of(&px, "circumference_px") / of(&mm, "circumference_mm");
        assert!((ratio - 2.0).abs() < 1e-9, "{px} {mm}");
        let empty = Rle::new(2, 2, vec![4]).unwrap();
        assert_eq!(Measures::of(&empty, None).unwrap(), None);
    }
}
