//! An object as the page sees it, and as the file does.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use sonotune_base::{Error, Rle, Segmentation};

use crate::document::{Entry, OWN, ObjectItem, set};

/// Characters of an object's name at most.
const MAX_UID: usize = 64;
/// Clicks of a prompt at most.
const MAX_POINTS: usize = 1000;

/// An object of an image. The box and the area are the server's to compute, except for an object that is a box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Object {
    /// Unique within the image.
    pub(crate) uid: String,
    pub(crate) category_id: u64,
    pub(crate) mask: Option<Mask>,
    /// XYWH.
    #[serde(default)]
    pub(crate) bbox: Option<[f64; 4]>,
    #[serde(default)]
    pub(crate) iscrowd: bool,
    /// Outlines `[x, y, …]`, if it was drawn so; they count more than the mask.
    #[serde(default)]
    pub(crate) polygons: Option<Vec<Vec<f64>>>,
    #[serde(flatten)]
    pub(crate) origin: Origin,
}

/// Where an object comes from; in the file it is under our own key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Origin {
    #[serde(default)]
    pub(crate) source: Source,
    /// The model's, if it is the model's.
    #[serde(default)]
    pub(crate) score: Option<f64>,
    #[serde(default)]
    pub(crate) prompt: Option<Prompt>,
    /// How long it took.
    #[serde(default)]
    pub(crate) seconds: Option<f64>,
    /// Who made it or changed it last; what the page says about it does not count.
    #[serde(default)]
    pub(crate) reader: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// Drawn, or changed by hand.
    #[default]
    Manual,
    /// The model's answer to a prompt.
    Model,
    /// What the model found without a prompt.
    Draft,
}

/// COCO's compressed run lengths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mask {
    /// Height and width.
    pub(crate) size: [u32; 2],
    pub(crate) counts: String,
}

/// What the model was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prompt {
    #[serde(default)]
    pub(crate) points: Vec<Point>,
    /// XYXY.
    #[serde(default)]
    pub(crate) bbox: Option<[f64; 4]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) positive: bool,
}

impl Mask {
    pub(crate) fn of(mask: &Rle) -> Self {
        Self { size: [mask.height, mask.width], counts: mask.to_compressed() }
    }

    /// The mask on an image of `size`, without empty runs.
    ///
    /// # Errors
    /// Kind data if it has another size, or its counts are malformed.
    pub(crate) fn decode(&self, size: (u32, u32)) -> Result<Rle> {
        let [height, width] = self.size;
        ensure!(
            (height, width) == size,
            Error::data(format!(
                "the mask is {height}×{width} (height×width), but the image has {}×{} pixels",
                size.0, size.1
            ))
        );
        let mask = Rle::from_compressed(height, width, &self.counts)
            .map_err(|e| Error::data(e.to_string()))?;
        Ok(without_empty_runs(mask))
    }
}

/// The same mask with the runs that every encoder writes: only the first may be empty.
fn without_empty_runs(mask: Rle) -> Rle {
    if mask.counts.iter().skip(1).all(|&count| count > 0) {
        return mask;
    }
    // Runs alternate from 0 on: a run continues the last one if an even number of runs, all empty, lies between.
    let mut counts = vec![0];
    for (i, &count) in mask.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let is_set = i % 2 == 1;
        let continues = (counts.len() % 2 == 0) == is_set;
        match counts.last_mut() {
            Some(last) if continues => *last += count,
            _ => counts.push(count),
        }
    }
    Rle { counts, ..mask }
}

/// What an object covers, in the file's terms.
pub(crate) struct Shape {
    segmentation: Option<Box<RawValue>>,
    bbox: [f64; 4],
    area: f64,
}

impl Object {
    /// An object of the file.
    ///
    /// # Errors
    /// Kind data if its segmentation does not fit the image.
    pub(crate) fn of(item: &ObjectItem, size: (u32, u32)) -> Result<Self> {
        let segmentation = segmentation(&item.entry)?;
        let malformed = || {
            let id =
                item.entry.raw("id").map_or_else(String::new, |id| format!(" (id {})", id.get()));
            Error::data(format!(
                "an annotation{id}: its `segmentation` cannot be shown; fix it in the file"
            ))
        };
        let (mask, polygons) = match &segmentation {
            Segmentation::None => (None, None),
            Segmentation::Polygons(polygons) => (
                Some(segmentation.rasterize(size, item.bbox).with_context(malformed)?),
                Some(polygons.clone()),
            ),
            _ => (Some(segmentation.rasterize(size, item.bbox).with_context(malformed)?), None),
        };
        let own: Map<String, Value> = item.entry.get(OWN).unwrap_or_default();
        Ok(Self {
            uid: item.uid.clone(),
            category_id: item.category_id,
            mask: mask.map(|mask| Mask::of(&without_empty_runs(mask))),
            bbox: Some(item.bbox),
            iscrowd: item
                .entry
                .get::<Value>("iscrowd")
                .is_some_and(|flag| flag == 1 || flag == true),
            polygons,
            origin: serde_json::from_value(Value::Object(own)).unwrap_or_default(),
        })
    }

    /// The mask on an image of `size`; a box is filled.
    ///
    /// # Errors
    /// Kind data if it does not fit the image, or has no pixel there.
    pub(crate) fn raster(&self, size: (u32, u32)) -> Result<Rle> {
        let mask = match (&self.polygons, &self.mask, self.bbox) {
            (Some(polygons), _, _) => {
                rasterized(&Segmentation::Polygons(polygons.clone()), size, [0.0; 4])?
            }
            (None, Some(mask), _) => mask.decode(size)?,
            (None, None, Some(bbox)) => {
                let is_box = bbox.iter().all(|v| v.is_finite()) && bbox[2] > 0.0 && bbox[3] > 0.0;
                ensure!(
                    is_box,
                    Error::data(format!("its box {bbox:?} is not x, y, width and height above 0"))
                );
                rasterized(&Segmentation::None, size, bbox)?
            }
            (None, None, None) => {
                return Err(Error::data("it has neither mask nor polygons nor box").into());
            }
        };
        ensure!(
            mask.area() > 0,
            Error::data("it covers no pixel of the image: draw it anew or remove it")
        );
        Ok(mask)
    }

    /// What of it goes into the file.
    ///
    /// # Errors
    /// Same errors as [`raster`](Self::raster).
    fn shape(&self, size: (u32, u32)) -> Result<Shape> {
        let mask = self.raster(size)?;
        let measured = Shape { segmentation: None, bbox: mask.bbox(), area: mask.area() as f64 };
        Ok(match (&self.polygons, &self.mask, self.bbox) {
            (Some(polygons), _, _) => {
                Shape { segmentation: Some(serde_json::value::to_raw_value(polygons)?), ..measured }
            }
            (None, Some(_), _) => {
                let mask = Mask::of(&mask);
                Shape { segmentation: Some(serde_json::value::to_raw_value(&mask)?), ..measured }
            }
            (None, None, Some([x, y, width, height])) => {
                let inside = |low: f64, length: f64, side: u32| {
                    let (low, high) = (low.max(0.0), (low + length).min(f64::from(side)));
                    (low, high - low)
                };
                let ((x, width), (y, height)) =
                    (inside(x, width, size.1), inside(y, height, size.0));
                Shape { segmentation: None, bbox: [x, y, width, height], area: width * height }
            }
            (None, None, None) => measured,
        })
    }

    /// Whether it covers the same as another, in the same form.
    fn has_shape_of(&self, other: &Self, size: (u32, u32)) -> bool {
        match (&self.polygons, &other.polygons, &self.mask, &other.mask) {
            (Some(a), Some(b), _, _) => a == b,
            // Outlines that the page dropped without a change of the mask stay.
            (None, _, Some(a), Some(b)) => a == b || a.decode(size).ok() == b.decode(size).ok(),
            (None, None, None, None) => self.bbox == other.bbox,
            _ => false,
        }
    }

    /// Checks what does not depend on its shape.
    ///
    /// # Errors
    /// Kind data, saying what is wrong.
    pub(crate) fn check(&self, category_ids: &[u64]) -> Result<()> {
        let fits = !self.uid.is_empty() && self.uid.chars().count() <= MAX_UID;
        ensure!(fits, Error::data(format!("`uid` must have 1 to {MAX_UID} characters")));
        ensure!(
            category_ids.contains(&self.category_id),
            Error::data(format!(
                "its category {} is not (or no longer) in the file",
                self.category_id
            ))
        );
        let points = self.origin.prompt.as_ref().map_or(0, |prompt| prompt.points.len());
        ensure!(
            points <= MAX_POINTS,
            Error::data(format!("its prompt has {points} points, more than {MAX_POINTS}"))
        );
        Ok(())
    }

    /// The annotation for the file: the one that is there with what has changed, or a new one.
    ///
    /// # Errors
    /// Same errors as [`raster`](Self::raster).
    pub(crate) fn item(
        &self,
        size: (u32, u32),
        before: Before<'_>,
        reader: Option<&str>,
    ) -> Result<ObjectItem> {
        let (mut item, shown) = match before {
            Before::New { position, id, image_id } => {
                let entry = Entry::of(vec![set("id", &id)?, ("image_id", Some(image_id))])?;
                let (uid, category_id) = (self.uid.clone(), self.category_id);
                (ObjectItem { position, category_id, uid, bbox: [0.0; 4], entry }, None)
            }
            Before::There(item) => (item.clone(), Some(Self::of(item, size)?)),
        };
        let has_shape = shown.as_ref().is_some_and(|shown| self.has_shape_of(shown, size));
        let has_category =
            shown.as_ref().is_some_and(|shown| shown.category_id == self.category_id);
        let has_flag = shown.as_ref().is_some_and(|shown| shown.iscrowd == self.iscrowd);
        let had = shown.as_ref().map(|shown| Origin { reader: None, ..shown.origin.clone() });
        let origin = Origin { reader: None, ..self.origin.clone() };
        let has_origin = had.as_ref() == Some(&origin);
        let mut changes = Vec::new();
        if !has_category {
            changes.push(set("category_id", &self.category_id)?);
            item.category_id = self.category_id;
        }
        if !has_shape {
            let shape = self.shape(size)?;
            changes.push(set("bbox", &shape.bbox)?);
            changes.push(set("area", &shape.area)?);
            changes.push(("segmentation", shape.segmentation));
            item.bbox = shape.bbox;
        }
        if !has_flag {
            changes.push(set("iscrowd", &u8::from(self.iscrowd))?);
        }
        if has_shape && has_category && has_flag && has_origin {
            return Ok(item);
        }
        let mut own: Map<String, Value> = item.entry.get(OWN).unwrap_or_default();
        own.insert("uid".to_owned(), self.uid.clone().into());
        let origin = Origin { reader: reader.map(str::to_owned), ..origin };
        if let Value::Object(origin) = serde_json::to_value(&origin)? {
            for (key, value) in origin {
                if value.is_null() { drop(own.remove(&key)) } else { drop(own.insert(key, value)) }
            }
        }
        changes.push(set(OWN, &own)?);
        item.entry = item.entry.with(changes)?;
        Ok(item)
    }
}

/// What of an object is in the file already.
pub(crate) enum Before<'a> {
    There(&'a ObjectItem),
    New { position: u64, id: u64, image_id: Box<RawValue> },
}

fn rasterized(segmentation: &Segmentation, size: (u32, u32), bbox: [f64; 4]) -> Result<Rle> {
    segmentation.check(Some(size)).map_err(|e| Error::data(format!("{e:#}")))?;
    Ok(segmentation.rasterize(size, bbox).map_err(|e| Error::data(format!("{e:#}")))?)
}

fn segmentation(entry: &Entry) -> Result<Segmentation> {
    let Some(raw) = entry.raw("segmentation") else { return Ok(Segmentation::None) };
    serde_json::from_str(raw.get()).map_err(|e| Error::data(format!("`segmentation`: {e}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_runs_are_dropped_and_the_pixels_stay() {
        for counts in
            [vec![2, 3, 1], vec![2, 1, 0, 2, 1], vec![0, 0, 2, 3, 0, 0, 1], vec![2, 0, 0, 3, 1, 0]]
        {
            let mask = Rle::new(2, 3, counts).unwrap();
            let plain = without_empty_runs(mask.clone());
            assert_eq!(plain.to_mask(), mask.to_mask(), "{:?}", mask.counts);
            assert_eq!(plain, Rle::from_mask(&mask.to_mask(), (2, 3)).unwrap());
        }
        let all = Rle::new(2, 3, vec![0, 4, 0, 2]).unwrap();
        assert_eq!(without_empty_runs(all).counts, [0, 6]);
        let none = Rle::new(2, 3, vec![6, 0]).unwrap();
        assert_eq!(without_empty_runs(none).counts, [6]);
    }
}
