//! A COCO result file: a list of detections, which may be hundreds of thousands.
//!
//! The file is read whole, and entries point into it: masks are decoded only when it is their
//! image's turn.

use std::{cell::RefCell, fmt, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};
use serde_json::value::RawValue;
use sonotune_base::{Error, ImageId, Segmentation};

use super::{
    CocoTruths,
    fields::bbox_or_nothing,
    join::{check_bbox, find},
    json::{entries, located, without_mark},
    parse_hashed, read,
    truths::OF_TRUTHS,
};

/// The bytes of a result file.
#[derive(Debug)]
pub struct CocoResults {
    bytes: Vec<u8>,
}

/// A detection of a result file.
#[derive(Debug, Clone, Copy)]
pub struct FoundObject<'a> {
    /// Index into [`CocoTruths::images`].
    pub image: u32,
    /// Index into [`CocoTruths::categories`].
    pub category: u32,
    pub score: f64,
    /// XYWH, original pixels.
    pub bbox: Option<[f64; 4]>,
    segmentation: Option<&'a str>,
}

impl FoundObject<'_> {
    /// Whether the file has a mask for it.
    #[must_use]
    pub fn has_mask(&self) -> bool {
        self.segmentation.is_some()
    }

    /// The mask as given in the file.
    ///
    /// # Errors
    /// If it is not a valid segmentation.
    pub fn segmentation(&self) -> Result<Segmentation> {
        let Some(json) = self.segmentation else { return Ok(Segmentation::None) };
        serde_json::from_str(json).map_err(|error| {
            // Line and column are relative to the fragment, which the user does not know.
            let text = error.to_string();
            anyhow!("{}", text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what))
        })
    }
}

impl CocoResults {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { bytes: read(path)? })
    }

    /// The detections in the order of the file, and the SHA-256 of the file.
    ///
    /// The file is a list of objects with `image_id`, `category_id`, `score`, `bbox` or
    /// `segmentation` or both, or an object with such a list as `annotations`. Masks are not kept
    /// unless `with_masks` or there is no box.
    ///
    /// # Errors
    /// A data error that names `path` and the entry that is incomplete, malformed, or of an image or
    /// category that the ground truth does not have.
    pub fn detections<'a>(
        &'a self,
        path: &Path,
        truths: &CocoTruths,
        with_masks: bool,
    ) -> Result<(Vec<FoundObject<'a>>, String)> {
        let bytes = without_mark(&self.bytes);
        let parse = |bytes: &'a [u8]| {
            let text = std::str::from_utf8(bytes)
                .map_err(|e| Error::data(format!("{}: is not UTF-8: {e}", path.display())))?;
            let list = List { truths, with_masks, last_image: RefCell::default() };
            let mut json = serde_json::Deserializer::from_str(text);
            let found = ListSeed { list: &list, is_top: true }.deserialize(&mut json);
            found
                .and_then(|found| json.end().map(|()| found))
                .map_err(|error| located(&error, bytes, path))
        };
        parse_hashed(bytes, parse, path)
    }
}

/// An entry as in the file, without copying.
#[derive(Deserialize)]
struct RawFound<'a> {
    #[serde(borrow)]
    image_id: Option<&'a RawValue>,
    #[serde(borrow)]
    category_id: Option<&'a RawValue>,
    score: Option<f64>,
    #[serde(default, deserialize_with = "bbox_or_nothing")]
    bbox: Option<[f64; 4]>,
    #[serde(borrow)]
    segmentation: Option<&'a RawValue>,
}

/// Reads entries and finds their images and categories.
struct List<'t> {
    truths: &'t CocoTruths,
    with_masks: bool,
    /// The detections of an image are mostly next to each other.
    last_image: RefCell<Option<(String, u32)>>,
}

impl List<'_> {
    fn found<'a>(&self, raw: &RawFound<'a>) -> Result<FoundObject<'a>> {
        let category_id = parse_id("category_id", raw.category_id)?;
        let categories = &self.truths.category_index;
        let category = find("category_id", category_id.as_ref(), categories, OF_TRUTHS)?;
        let score = raw.score.context("`score` is missing")?;
        let empty = |json: &&str| matches!(*json, "[]" | "null");
        let segmentation = raw.segmentation.map(RawValue::get).filter(|json| !empty(json));
        ensure!(
            raw.bbox.is_some() || segmentation.is_some(),
            "has neither `bbox` nor `segmentation`"
        );
        if let Some(bbox) = raw.bbox {
            check_bbox(bbox)?;
        }
        Ok(FoundObject {
            image: self.image(raw.image_id)?,
            category,
            score,
            bbox: raw.bbox,
            segmentation: segmentation.filter(|_| self.with_masks || raw.bbox.is_none()),
        })
    }

    fn image(&self, json: Option<&RawValue>) -> Result<u32> {
        let mut last = self.last_image.borrow_mut();
        match (&*last, json) {
            (Some((text, image)), Some(json)) if text == json.get() => return Ok(*image),
            _ => {}
        }
        let id = parse_id("image_id", json)?;
        let image = find("image_id", id.as_ref(), &self.truths.image_index, OF_TRUTHS)?;
        *last = json.map(|json| (json.get().to_owned(), image));
        Ok(image)
    }
}

fn parse_id(key: &str, json: Option<&RawValue>) -> Result<Option<ImageId>> {
    let parse = |json: &RawValue| ImageId::from_json(json.get());
    json.map(parse).transpose().map_err(|e| anyhow!("{key}: {e}"))
}

/// One entry. Its images and categories are looked up while the reader stands in it, so that an
/// error tells its line.
#[derive(Clone, Copy)]
struct EntrySeed<'l, 't>(&'l List<'t>);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_, '_> {
    type Value = FoundObject<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_, '_> {
    type Value = FoundObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `image_id`, `category_id`, `score`, `bbox` or `segmentation`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let raw = RawFound::deserialize(de::value::MapAccessDeserializer::new(map))?;
        self.0.found(&raw).map_err(|e| de::Error::custom(format!("{e:#}")))
    }
}

/// The list, or at the top of the file an object that has it as `annotations`.
struct ListSeed<'l, 't> {
    list: &'l List<'t>,
    is_top: bool,
}

impl<'de> DeserializeSeed<'de> for ListSeed<'_, '_> {
    type Value = Vec<FoundObject<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ListSeed<'_, '_> {
    type Value = Vec<FoundObject<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let top = ", or an object with such a list as `annotations`";
        write!(f, "a list of detections{}", if self.is_top { top } else { "" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        entries(list, "detections", EntrySeed(self.list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        if !self.is_top {
            return Err(de::Error::invalid_type(Unexpected::Map, &self));
        }
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "annotations" {
                map.next_value::<IgnoredAny>()?;
            } else if found.is_none() {
                found = Some(map.next_value_seed(Self { is_top: false, ..self })?);
            } else {
                return Err(de::Error::duplicate_field("annotations"));
            }
        }
        found.ok_or_else(|| de::Error::missing_field("annotations"))
    }
}
