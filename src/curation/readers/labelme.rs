//! Shapes of labelme files, drawn as labelme draws them.

use std::collections::BTreeMap;

use base64::Engine;
use serde::Deserialize;
use serde_json::Value;
use sonotune_base::{Rle, image_io::ExifTurn};
use sonotune_formats::{polygon::PolygonRule, text::GARBLED};

use super::{
    check_drawn, decode_bytes,
    outlines::{filled, labelled},
    pairing::unknown_label,
};
use crate::{
    Mask, Pixels,
    problem::{Problem, ProblemKind},
    spec::Sizes,
};

/// A labelme file; keys without a meaning for masks are not read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Labelme {
    shapes: Vec<Shape>,
    #[serde(default)]
    image_height: Option<f64>,
    #[serde(default)]
    image_width: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Shape {
    label: String,
    points: Vec<(f64, f64)>,
    #[serde(default)]
    shape_type: Option<String>,
    /// A number; shapes with the same one and the same label are one object.
    #[serde(default)]
    group_id: Option<Value>,
    /// A PNG in Base64.
    #[serde(default)]
    mask: Option<String>,
}

/// What decides how the shapes of a file are drawn.
pub(super) struct Drawing<'a> {
    /// The labelme file, for messages.
    pub(super) path: &'a str,
    pub(super) image: &'a Pixels,
    /// The image file, for messages, and what EXIF does to it.
    pub(super) name: &'a str,
    pub(super) turn: ExifTurn,
    pub(super) rule: PolygonRule,
    pub(super) labels: &'a BTreeMap<String, u8>,
    /// Key of the spec with the labels.
    pub(super) place: &'a str,
}

/// An object under construction.
struct Object<'s> {
    group: Option<(&'s str, &'s Value)>,
    category: u8,
    mask: Vec<u8>,
    /// Whether it is one object even if it is in pieces.
    is_whole: bool,
}

impl Labelme {
    /// Checks that the points belong to an image of this size and orientation.
    pub(super) fn check_image(&self, sizes: Sizes, draw: &Drawing<'_>) -> Result<(), Problem> {
        if self.shapes.is_empty() {
            return Ok(());
        }
        let given = self.image_height.zip(self.image_width).filter(|_| sizes == Sizes::Check);
        let image = draw.image;
        let size = (image.height, image.width);
        let is_same = |given| given == (f64::from(size.0), f64::from(size.1));
        let Some((height, width)) = given.filter(|given| !is_same(*given)) else {
            return check_drawn(draw.name, draw.turn, image, given.map(|_| size));
        };
        Err(Problem::new(
            ProblemKind::MaskSize,
            format!(
                "{}: imageHeight and imageWidth are {height} and {width}, but its image has {}×{} pixels \
                 (height × width); use the image that was annotated, or set outlines.sizes = \
                 \"ignore\" if the shapes fit this one",
                draw.path, image.height, image.width
            ),
        ))
    }

    /// The masks of its objects, in the order of their first shapes.
    pub(super) fn masks(&self, draw: &Drawing<'_>) -> Result<Vec<Mask>, Problem> {
        let mut objects = Vec::<Object<'_>>::new();
        for (index, shape) in self.shapes.iter().enumerate() {
            let category = shape.category(draw)?;
            if category == 0 {
                continue;
            }
            let place = format!("{}: shapes[{index}], label `{}`", draw.path, shape.label);
            let mask = shape.mask(draw, &place)?;
            let group = shape.group_id.as_ref().filter(|id| !id.is_null());
            let group = group.map(|id| (shape.label.as_str(), id));
            match objects.iter_mut().find(|object| group.is_some() && object.group == group) {
                Some(object) => {
                    object.mask.iter_mut().zip(mask).for_each(|(value, new)| *value |= new);
                }
                None => {
                    let is_whole = group.is_some() || shape.kind() == "mask";
                    objects.push(Object { group, category, mask, is_whole });
                }
            }
        }
        objects.into_iter().map(|object| object.finish(draw.image)).collect()
    }
}

impl Object<'_> {
    fn finish(self, image: &Pixels) -> Result<Mask, Problem> {
        if !self.is_whole {
            return Ok(Mask::Labels(labelled(self.mask, image, self.category)));
        }
        let mask = Rle::from_mask(&self.mask, (image.height, image.width))
            .map_err(|error| Problem::unreadable(&error))?;
        Ok(Mask::Object { category: self.category, mask, is_crowd: false })
    }
}

impl Shape {
    fn kind(&self) -> &str {
        self.shape_type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("polygon")
    }

    fn category(&self, draw: &Drawing<'_>) -> Result<u8, Problem> {
        draw.labels.get(&self.label).copied().ok_or_else(|| {
            let mut message = unknown_label(draw.path, &self.label, draw.place, draw.labels.keys());
            if self.label.contains(GARBLED) {
                message.push_str(". The file is not UTF-8: save it as UTF-8");
            }
            Problem::new(ProblemKind::UnknownLabel, message)
        })
    }

    /// 1 where the shape is.
    fn mask(&self, draw: &Drawing<'_>, place: &str) -> Result<Vec<u8>, Problem> {
        let polygon = |points: &[(f64, f64)]| filled(points, draw.image, draw.rule, place);
        match (self.kind(), self.points.as_slice()) {
            ("polygon", points) => polygon(points),
            // Some tools that write labelme's format store all four corners.
            ("rectangle" | "oriented_rectangle" | "rotation", points @ [_, _, _, _]) => {
                polygon(points)
            }
            ("rectangle", &[(x0, y0), (x1, y1)]) => {
                polygon(&[(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
            }
            ("circle", &[centre, rim]) => disc(centre, rim, draw.image, place),
            ("mask", &[first, last]) => self.bitmap(first, last, draw.image, place),
            (kind @ ("line" | "linestrip" | "point" | "points"), _) => Err(Problem::new(
                ProblemKind::NoArea,
                format!(
                    "{place}: its shape_type `{kind}` has no area; outline the object as a polygon, or \
                     leave out the label with 0 in {}",
                    draw.place
                ),
            )),
            (kind, points) => Err(Problem::new(
                ProblemKind::Unreadable,
                format!(
                    "{place}: a shape_type `{kind}` of {} points is not one of labelme's; draw it as a \
                     polygon",
                    points.len()
                ),
            )),
        }
    }

    /// A mask: a PNG whose corners are two points.
    fn bitmap(
        &self,
        first: (f64, f64),
        last: (f64, f64),
        image: &Pixels,
        place: &str,
    ) -> Result<Vec<u8>, Problem> {
        let unreadable = |what: String| {
            Problem::new(ProblemKind::Unreadable, format!("{place}: its mask {what}"))
        };
        let text = self.mask.as_deref().ok_or_else(|| unreadable("is missing".to_owned()))?;
        let png = base64::prelude::BASE64_STANDARD.decode(text.trim());
        let png = png.map_err(|error| unreadable(format!("is not Base64: {error}")))?;
        let bitmap = decode_bytes(&png, place)?;
        if bitmap.channels != 1 {
            return Err(unreadable(format!("has {} channels instead of 1", bitmap.channels)));
        }
        let corner = |(x, y): (f64, f64)| (x.round() as i64, y.round() as i64);
        let is_whole = |(x, y): (f64, f64)| x.fract() == 0.0 && y.fract() == 0.0;
        let ((x0, y0), (x1, y1)) = (corner(first), corner(last));
        let size = (i64::from(bitmap.height), i64::from(bitmap.width));
        // Corners between pixels do not tell the size.
        if is_whole(first) && is_whole(last) && size != (y1 - y0 + 1, x1 - x0 + 1) {
            return Err(unreadable(format!(
                "has {}×{} pixels (height × width), but its corners are {first:?} and {last:?}",
                bitmap.height, bitmap.width
            )));
        }
        let set = |x: i64, y: i64| {
            let inside = (0..size.0).contains(&(y - y0)) && (0..size.1).contains(&(x - x0));
            inside && bitmap.data[((y - y0) * size.1 + x - x0) as usize] != 0
        };
        if bitmap.data.iter().all(|&value| value == 0) {
            return Err(Problem::new(ProblemKind::NoArea, format!("{place}: its mask is empty")));
        }
        drawn(image, place, set)
    }
}

/// A circle by its centre and a point on it, as Pillow draws it, except for single pixels of its rim.
fn disc(
    (cx, cy): (f64, f64),
    (px, py): (f64, f64),
    image: &Pixels,
    place: &str,
) -> Result<Vec<u8>, Problem> {
    let radius = (px - cx).hypot(py - cy);
    if radius == 0.0 {
        return Err(Problem::new(
            ProblemKind::NoArea,
            format!("{place}: a circle of radius 0 has no area"),
        ));
    }
    // Half of the distance between the pixels at both ends, and almost half a pixel around.
    let axis = |centre: f64| {
        let (low, high) = ((centre - radius).trunc(), (centre + radius).trunc());
        (f64::midpoint(low, high), (high - low) / 2.0 + 0.4)
    };
    let ((cx, rx), (cy, ry)) = (axis(cx), axis(cy));
    drawn(image, place, |x, y| {
        ((x as f64 - cx) / rx).powi(2) + ((y as f64 - cy) / ry).powi(2) <= 1.0
    })
}

/// 1 where `set` says so; a problem if that is nowhere in the image.
fn drawn(image: &Pixels, place: &str, set: impl Fn(i64, i64) -> bool) -> Result<Vec<u8>, Problem> {
    let (height, width) = (i64::from(image.height), i64::from(image.width));
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let mask: Vec<u8> = pixels.map(|(x, y)| u8::from(set(x, y))).collect();
    if mask.contains(&1) {
        return Ok(mask);
    }
    Err(Problem::new(ProblemKind::OutOfFrame, format!("{place}: it covers no pixel of the image")))
}
