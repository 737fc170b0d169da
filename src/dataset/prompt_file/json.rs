//! `{"images": [{"file_name": "a.png", "objects": [{"points": [[x, y, 1]], "box": […]}]}]}`.

use std::fmt;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};

use super::{PromptedImage, PromptedObject};
use crate::{ObjectPrompt, PointPrompt};
use sonotune_base::{
    Segmentation,
    json::{Number, quoted_nan},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    images: Vec<Image>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    file_name: String,
    frame: Option<u32>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    name: Option<String>,
    category: Option<String>,
    #[serde(default)]
    points: Vec<Point>,
    #[serde(rename = "box")]
    bbox: Option<[Number; 4]>,
    mask: Option<Segmentation>,
}

pub(super) fn images(text: &[u8]) -> Result<Vec<PromptedImage>> {
    // NaN is then an error of its key.
    let text = quoted_nan(text);
    let mut json = serde_json::Deserializer::from_slice(&text);
    let file: File = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!("{path}: ") };
        anyhow!("{at}{}", error.into_inner())
    })?;
    json.end()?;
    file.images.into_iter().enumerate().map(|(i, image)| image.checked(i)).collect()
}

impl Image {
    fn checked(self, index: usize) -> Result<PromptedImage> {
        let place = format!("images[{index}]");
        ensure!(!self.file_name.is_empty(), "{place}: `file_name` is empty");
        let checked = |(i, object): (usize, Object)| {
            let place = format!("{place}.objects[{i}]");
            object.checked(&place).context(place)
        };
        let objects = self.objects.into_iter().enumerate().map(checked).collect::<Result<_>>()?;
        Ok(PromptedImage { file_name: self.file_name, frame: self.frame, place, objects })
    }
}

impl Object {
    fn checked(self, place: &str) -> Result<PromptedObject> {
        let mask = self.mask;
        ensure!(mask != Some(Segmentation::None), "`mask` is empty");
        if let Some(mask) = &mask {
            mask.check(None).context("mask")?;
        }
        let points: Vec<_> = self.points.into_iter().map(|Point(point)| point).collect();
        ensure!(
            !points.is_empty() || self.bbox.is_some() || mask.is_some(),
            "has none of `points`, `box` and `mask`"
        );
        let bbox = self.bbox.map(|sides| sides.map(|Number(side)| side));
        Ok(PromptedObject {
            prompt: ObjectPrompt { name: self.name, category: None, points, bbox, mask },
            category: self.category,
            place: place.to_owned(),
        })
    }
}

/// `[x, y]` or `[x, y, 0 or 1]`.
struct Point(PointPrompt);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct PointVisitor;
        impl<'de> Visitor<'de> for PointVisitor {
            type Value = Point;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a point [x, y, label] whose label is 1 (on the object) or 0 (not on it)",
                )
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Point, A::Error> {
                let mut next = |i| {
                    let value: Option<Number> = list.next_element()?;
                    value
                        .map(|Number(value)| value)
                        .ok_or_else(|| de::Error::invalid_length(i, &PointVisitor))
                };
                let (x, y) = (next(0)?, next(1)?);
                let label: Option<Number> = list.next_element()?;
                let positive = match label.map(|Number(label)| label) {
                    None => true,
                    Some(label) if label == 1.0 || label == 0.0 => label == 1.0,
                    Some(label) => {
                        let unexpected = de::Unexpected::Float(label);
                        return Err(de::Error::invalid_value(unexpected, &self));
                    }
                };
                if list.next_element::<IgnoredAny>()?.is_some() {
                    return Err(de::Error::invalid_length(4, &self));
                }
                Ok(Point(PointPrompt { x, y, positive }))
            }
        }
        json.deserialize_seq(PointVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_may_have_any_prompts() {
        let images = images(
            br#"{"images": [{"file_name": "a.png", "objects": [
                {"name": "left", "category": "cyst", "points": [[1, 2.5], [3, 4, 0]]},
                {"box": [1, "2", 3, 4], "mask": [[0, 0, 4, 0, 4, 4]]},
                {"mask": {"size": [2, 3], "counts": [0, 6]}}]},
               {"file_name": "b/c.png", "objects": []}]}"#,
        )
        .unwrap();
        let [a, b] = &images[..] else { panic!() };
        assert_eq!((b.file_name.as_str(), b.objects.len()), ("b/c.png", 0));
        let [first, second, third] = &a.objects[..] else { panic!() };
        assert_eq!(first.category.as_deref(), Some("cyst"));
        assert_eq!(first.prompt.name.as_deref(), Some("left"));
        let positive: Vec<_> = first.prompt.points.iter().map(|p| (p.x, p.y, p.positive)).collect();
        assert_eq!(positive, [(1.0, 2.5, true), (3.0, 4.0, false)]);
        assert_eq!(second.prompt.bbox, Some([1.0, 2.0, 3.0, 4.0]));
        assert!(matches!(second.prompt.mask, Some(Segmentation::Polygons(_))));
        assert!(matches!(third.prompt.mask, Some(Segmentation::Runs(_))));
        assert_eq!(third.place, "images[0].objects[2]");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let object = |object: &str| {
            format!(r#"{{"images": [{{"file_name": "a.png", "objects": [{{}}, {object}]}}]}}"#)
                .replace("{}, ", r#"{"points": [[1, 1]]}, "#)
        };
        let place = "images[0].objects[1]";
        for (text, parts) in [
            (object(r#"{"points": [[1, 2]], "boxes": 1}"#), [place, "unknown field `boxes`"]),
            (object(r#"{"box": [1, 2, 3]}"#), ["images[0].objects[1].box", "line 1 column"]),
            (object(r#"{"points": [[1, 2, 7]]}"#), ["points[0]", "label is 1"]),
            (object(r#"{"points": [[1]]}"#), ["points[0]", "[x, y, label]"]),
            (object(r#"{"points": [["a", 1]]}"#), ["points[0]", "string \"a\", expected a number"]),
            (object(r#"{"box": [1, 2, NaN, 4]}"#), ["objects[1].box", "NaN, expected a number"]),
            (object(r#"{"points": [], "name": "x"}"#), [place, "none of `points`"]),
            (object(r#"{"mask": []}"#), [place, "`mask` is empty"]),
            (object(r#"{"mask": [[1, 2]]}"#), [place, "3 points"]),
            (object(r#"{"mask": {"size": [2, 2], "counts": [9]}}"#), [place, "mask"]),
            ("[]".to_owned(), ["invalid", "line 1"]),
            (r#"{"images": [{"objects": []}]}"#.to_owned(), ["images[0]", "file_name"]),
            (r#"{"images": []} {}"#.to_owned(), ["trailing", "line 1"]),
            (String::new(), ["EOF", "line 1"]),
        ] {
            let error = format!("{:#}", images(text.as_bytes()).unwrap_err());
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
