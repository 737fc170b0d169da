//! COCO files with all that they hold: the keys that curation has a use for, and the rest unread.

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess},
};
use serde_json::value::RawValue;
use sonotune_base::ImageId;
use sonotune_dataset::coco::{
    self, Extra, Fields, File, Manner, Object, Pair, Reader, Text, Unsigned,
};

use super::{CategoryRecord, CocoFile, ImageRecord, Info};

/// Records take the keys that only they have; the joined ones are set in `read`.
pub(super) struct Tools;

pub(super) type RawFile = File<Tools>;
pub(super) type RawImage = coco::Image<Tools>;
pub(super) type RawAnnotation = coco::Annotation<Tools>;
pub(super) type RawCategory = coco::Category<Tools>;

impl Reader for Tools {
    type Side = Unsigned;
    type CategoryId = Unsigned;
    type Mask = Box<RawValue>;
    type OfFile = CocoFile;
    type OfImage = ImageRecord;
    type OfAnnotation = Extra;
    type OfCategory = CategoryRecord;
    const MANNER: Manner = Manner::Tolerant;

    fn check(category: &RawCategory) -> Result<(), &'static str> {
        category.id.ok_or("`id` is missing")?;
        category.name.as_ref().map(drop).ok_or("`name` is missing")
    }
}

impl Fields for CocoFile {
    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "info" => {
                let info: Option<Object<Info>> = pair.value()?;
                self.info = info.map(|Object(info)| info).unwrap_or_default();
            }
            _ => self.extra.take(pair)?,
        }
        Ok(())
    }
}

impl Fields for Info {
    const EXPECTED: &'static str = "an object with `description` and `url`";
    const MANNER: Manner = Manner::Tolerant;

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "description" => self.description = text(pair)?,
            "url" => self.url = text(pair)?,
            "dataset" => self.dataset = text(pair)?,
            "application" => self.application = text(pair)?,
            _ => self.extra.take(pair)?,
        }
        Ok(())
    }
}

impl Fields for ImageRecord {
    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        let from = &mut self.provenance;
        match pair.key {
            "dataset" => self.dataset = text(pair)?,
            "application" => self.application = text(pair)?,
            "source_file" => from.source_file = text(pair)?.unwrap_or_default(),
            "patient" => from.patient = name(pair)?,
            "clip" => from.clip = name(pair)?,
            "frame" => {
                let frame = pair.value::<Option<Unsigned>>()?;
                let frame = frame.map(|n| u32::try_from(n.0)).transpose();
                from.frame = frame.map_err(|e| A::Error::custom(format!("`frame`: {e}")))?;
            }
            "official_split" => from.official_split = text(pair)?,
            _ => self.extra.take(pair)?,
        }
        Ok(())
    }
}

impl Fields for CategoryRecord {
    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "supercategory" => self.supercategory = text(pair)?,
            _ => self.extra.take(pair)?,
        }
        Ok(())
    }
}

fn text<'de, A: MapAccess<'de>>(pair: Pair<'_, A>) -> Result<Option<String>, A::Error> {
    Ok(pair.value::<Option<Text>>()?.map(|text| text.0))
}

/// A name that other tools may have written as a number, and floating point as 5.0.
fn name<'de, A: MapAccess<'de>>(pair: Pair<'_, A>) -> Result<Option<String>, A::Error> {
    struct Name(String);
    impl<'de> Deserialize<'de> for Name {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let name = ImageId::deserialize(deserializer).map_err(|_| {
                D::Error::custom(
                    "expected a text or an integer; leave the key out if it is unknown",
                )
            })?;
            Ok(Self(name.to_string()))
        }
    }
    Ok(pair.value::<Option<Name>>()?.map(|Name(name)| name))
}
