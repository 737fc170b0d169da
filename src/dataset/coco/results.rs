//! A COCO result file: a list of detections, which may be hundreds of thousands.
//!
//! The file is read whole, and entries point into it: masks are decoded only when it is their
//! image's turn.

use std::{borrow::Cow, cell::RefCell, fmt, path::Path, sync::OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};
use serde_json::value::RawValue;
use sonotune_base::{ImageId, Segmentation, names::quoted};

use super::{
    CocoTruths, Number,
    fields::bbox_or_nothing,
    join::{check_bbox, find},
    json::{entries, with_key, with_nan},
    parse_hashed, read,
    text::text,
    tools::lines_of_results,
    truths::OF_TRUTHS,
};

/// The bytes of a result file.
#[derive(Debug)]
pub struct CocoResults {
    bytes: Vec<u8>,
    /// The text that entries point into, if it is not in `bytes`.
    decoded: OnceLock<Vec<u8>>,
    quoted: OnceLock<Vec<u8>>,
}

/// Keys of the list in a file that is an object.
const LISTS: [&str; 4] = ["annotations", "predictions", "detections", "results"];

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
        let (decoded, quoted) = Default::default();
        Ok(Self { bytes: read(path)?, decoded, quoted })
    }

    /// The detections in the order of the file, and the SHA-256 of the file.
    ///
    /// The file is a list of objects with `image_id`, `category_id`, `score`, `bbox` or
    /// `segmentation` or both, or an object with such a list as `annotations` (or `predictions`,
    /// `detections`, `results`). Masks are not kept unless `with_masks` or there is no box.
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
        let parse = |bytes: &'a [u8]| {
            let text = match text(bytes, path)? {
                Cow::Borrowed(text) => text,
                Cow::Owned(text) => self.decoded.get_or_init(|| text),
            };
            let read = |json: &'a [u8]| {
                let list = List { truths, with_masks, last_image: RefCell::default() };
                let mut json = serde_json::Deserializer::from_slice(json);
                let found = ListSeed { list: &list, is_top: true }.deserialize(&mut json)?;
                json.end().map(|()| found)
            };
            with_nan(text, &self.quoted, read, path, lines_of_results)
        };
        parse_hashed(&self.bytes, parse, path)
    }
}

/// An entry as in the file, without copying.
#[derive(Deserialize)]
struct RawFound<'a> {
    #[serde(borrow)]
    image_id: Option<&'a RawValue>,
    #[serde(borrow)]
    category_id: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "score")]
    score: Option<f64>,
    #[serde(default, deserialize_with = "bbox")]
    bbox: Option<[f64; 4]>,
    #[serde(borrow)]
    segmentation: Option<&'a RawValue>,
}

fn score<'de, D: Deserializer<'de>>(json: D) -> Result<Option<f64>, D::Error> {
    let score: Result<Option<Number>, _> = Deserialize::deserialize(json);
    score.map(|score| score.map(|Number(score)| score)).map_err(|e| with_key("score", &e))
}

fn bbox<'de, D: Deserializer<'de>>(json: D) -> Result<Option<[f64; 4]>, D::Error> {
    bbox_or_nothing(json).map_err(|e| with_key("bbox", &e))
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

/// The list, or at the top of the file an object that has it under one of [`LISTS`].
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
        let top = ", or an object with such a list as `annotations` or `predictions`";
        write!(f, "a list of detections{}", if self.is_top { top } else { "" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        entries(list, "detections", EntrySeed(self.list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        if !self.is_top {
            return Err(de::Error::invalid_type(Unexpected::Map, &self));
        }
        let mut found: Option<(String, Self::Value)> = None;
        let mut others = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if !LISTS.contains(&key.as_str()) {
                map.next_value::<IgnoredAny>()?;
                others.push(key);
            } else if let Some((first, _)) = found {
                let twice = format!("has both `{first}` and `{key}`: keep the list of detections");
                return Err(de::Error::custom(twice));
            } else {
                let list = map.next_value_seed(Self { is_top: false, ..self });
                found = Some((key.clone(), list.map_err(|e| with_key(&key, &e))?));
            }
        }
        found.map(|(_, list)| list).ok_or_else(|| {
            let expected: &dyn de::Expected = &self;
            let keys = if others.is_empty() { "no keys".into() } else { quoted(&others) };
            de::Error::custom(format!("expected {expected}; it has {keys}"))
        })
    }
}
