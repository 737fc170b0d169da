//! Parses the JSON of a COCO file directly into flat structs that keep unknown keys.

use std::{fmt, marker::PhantomData, path::Path};

use anyhow::Result;
use base::{Error, ImageId};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Unexpected, Visitor},
};
use serde_json::value::RawValue;

use super::{CategoryRecord, Extra, Info};
use crate::Provenance;

/// A COCO file whose entries are not joined yet.
#[derive(Debug, Default)]
pub(super) struct RawFile {
    pub(super) info: Info,
    pub(super) images: Vec<RawImage>,
    pub(super) annotations: Vec<RawAnnotation>,
    pub(super) categories: Vec<CategoryRecord>,
    pub(super) extra: Extra,
}

#[derive(Debug, Default)]
pub(super) struct RawImage {
    pub(super) id: Option<ImageId>,
    pub(super) file_name: Option<String>,
    pub(super) height: Option<u64>,
    pub(super) width: Option<u64>,
    pub(super) dataset: Option<String>,
    pub(super) application: Option<String>,
    pub(super) provenance: Provenance,
    pub(super) extra: Extra,
}

#[derive(Debug, Default)]
pub(super) struct RawAnnotation {
    pub(super) id: Option<ImageId>,
    pub(super) image_id: Option<ImageId>,
    pub(super) category_id: Option<u64>,
    pub(super) bbox: Option<[f64; 4]>,
    pub(super) area: Option<f64>,
    pub(super) segmentation: Option<Box<RawValue>>,
    pub(super) iscrowd: bool,
    pub(super) extra: Extra,
}

/// Parses the bytes of a whole file. `path` is used in messages.
///
/// # Errors
/// Names the file, the place in it (list, index, key, line, column), and what was expected and found.
pub(super) fn from_slice(bytes: &[u8], path: &Path) -> Result<RawFile> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let read = serde_json::from_slice(bytes).map(|Object(file)| file);
    read.map_err(|error| {
        // Inside an entry the kind of error is lost, but its text is kept.
        let cut = error.is_eof() || error.to_string().contains("EOF while parsing");
        let what = if cut && !bytes.is_empty() {
            "the file ends too early (an interrupted copy?): "
        } else {
            ""
        };
        Error::data(format!("{}: {what}{error}", path.display())).into()
    })
}

/// A struct that takes the entries of a JSON object one by one.
trait Fields: Default {
    /// Description of the expected JSON, for messages.
    const EXPECTED: &'static str;

    /// Takes the value of `key`, or reports that the key is unknown.
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<Taken, A::Error>;

    fn extra(&mut self) -> &mut Extra;
}

enum Taken {
    Yes,
    Unknown,
}

/// A [`Fields`] read from a JSON object; any other JSON value is an error.
struct Object<T>(T);

impl<'de, T: Fields> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Fields> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<T>, A::Error> {
                let mut value = T::default();
                while let Some(key) = map.next_key::<Key>()? {
                    let key = key.0;
                    // serde_json puts line and column at the end of the outermost message.
                    let taken = value.take(&key, &mut map).map_err(|e| at(&key, &e))?;
                    if let Taken::Unknown = taken {
                        let unread = map.next_value()?;
                        value.extra().0.push((key, unread));
                    }
                }
                Ok(Object(value))
            }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key(Box<str>);

fn at<E: de::Error>(key: &str, error: &E) -> E {
    let error = error.to_string();
    // Errors of lists already name the list and index.
    if error.starts_with(&format!("{key}[")) {
        E::custom(error)
    } else {
        E::custom(format!("`{key}`: {error}"))
    }
}

impl Fields for RawFile {
    const EXPECTED: &'static str =
        "a COCO file: an object with the lists `images`, `annotations`, `categories`";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<Taken, A::Error> {
        match key {
            "info" => {
                let info: Option<Object<Info>> = map.next_value()?;
                self.info = info.map(|Object(info)| info).unwrap_or_default();
            }
            "images" => self.images = map.next_value_seed(Entries::new("images"))?,
            "annotations" => self.annotations = map.next_value_seed(Entries::new("annotations"))?,
            "categories" => self.categories = map.next_value_seed(Entries::new("categories"))?,
            _ => return Ok(Taken::Unknown),
        }
        Ok(Taken::Yes)
    }

    fn extra(&mut self) -> &mut Extra {
        &mut self.extra
    }
}

impl Fields for Info {
    const EXPECTED: &'static str = "an object with `description` and `url`";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<Taken, A::Error> {
        match key {
            "description" => self.description = map.next_value()?,
            "url" => self.url = map.next_value()?,
            "dataset" => self.dataset = map.next_value()?,
            "application" => self.application = map.next_value()?,
            _ => return Ok(Taken::Unknown),
        }
        Ok(Taken::Yes)
    }

    fn extra(&mut self) -> &mut Extra {
        &mut self.extra
    }
}

impl Fields for RawImage {
    const EXPECTED: &'static str = "an object with `id`, `file_name`, `height`, `width`";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<Taken, A::Error> {
        let from = &mut self.provenance;
        match key {
            "id" => self.id = map.next_value()?,
            "file_name" => self.file_name = map.next_value()?,
            "height" => self.height = unsigned(map)?,
            "width" => self.width = unsigned(map)?,
            "dataset" => self.dataset = map.next_value()?,
            "application" => self.application = map.next_value()?,
            "source_file" => from.source_file = map.next_value::<Option<_>>()?.unwrap_or_default(),
            "patient" => from.patient = text(map)?,
            "clip" => from.clip = text(map)?,
            "frame" => {
                let frame = unsigned(map)?;
                from.frame = frame.map(u32::try_from).transpose().map_err(de::Error::custom)?;
            }
            "official_split" => from.official_split = map.next_value()?,
            _ => return Ok(Taken::Unknown),
        }
        Ok(Taken::Yes)
    }

    fn extra(&mut self) -> &mut Extra {
        &mut self.extra
    }
}

impl Fields for RawAnnotation {
    const EXPECTED: &'static str = "an object with `image_id`, `category_id`, `bbox`";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<Taken, A::Error> {
        match key {
            "id" => self.id = map.next_value()?,
            "image_id" => self.image_id = map.next_value()?,
            "category_id" => self.category_id = unsigned(map)?,
            "bbox" => self.bbox = map.next_value::<Option<Bbox>>()?.map(|Bbox(bbox)| bbox),
            "area" => self.area = map.next_value()?,
            "segmentation" => self.segmentation = Some(map.next_value()?),
            "iscrowd" => self.iscrowd = map.next_value::<Option<Flag>>()?.is_some_and(|f| f.0),
            _ => return Ok(Taken::Unknown),
        }
        Ok(Taken::Yes)
    }

    fn extra(&mut self) -> &mut Extra {
        &mut self.extra
    }
}

/// A category. It has few fields and nothing to join, so it is converted at once.
#[derive(Default)]
struct RawCategory {
    id: Option<u64>,
    name: Option<String>,
    supercategory: Option<String>,
    extra: Extra,
}

impl Fields for RawCategory {
    const EXPECTED: &'static str = "an object with `id` and `name`";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<Taken, A::Error> {
        match key {
            "id" => self.id = unsigned(map)?,
            "name" => self.name = map.next_value()?,
            "supercategory" => self.supercategory = map.next_value()?,
            _ => return Ok(Taken::Unknown),
        }
        Ok(Taken::Yes)
    }

    fn extra(&mut self) -> &mut Extra {
        &mut self.extra
    }
}

/// An entry of a list, after parsing.
trait Entry: Sized {
    type Read: Fields;

    fn finish(read: Self::Read) -> Result<Self, String>;
}

impl Entry for RawImage {
    type Read = Self;

    fn finish(read: Self) -> Result<Self, String> {
        Ok(read)
    }
}

impl Entry for RawAnnotation {
    type Read = Self;

    fn finish(read: Self) -> Result<Self, String> {
        Ok(read)
    }
}

impl Entry for CategoryRecord {
    type Read = RawCategory;

    fn finish(read: RawCategory) -> Result<Self, String> {
        let id = read.id.ok_or("`id` is missing")?;
        let name = read.name.ok_or("`name` is missing")?;
        Ok(Self { id, name, supercategory: read.supercategory, extra: read.extra })
    }
}

/// A list whose errors name the entry in which they occurred.
struct Entries<T> {
    list: &'static str,
    of: PhantomData<T>,
}

impl<T> Entries<T> {
    fn new(list: &'static str) -> Self {
        Self { list, of: PhantomData }
    }
}

impl<'de, T: Entry> de::DeserializeSeed<'de> for Entries<T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Entry> Visitor<'de> for Entries<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the list `{}`", self.list)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut entries = Vec::new();
        loop {
            let place = |error: &dyn fmt::Display| {
                de::Error::custom(format!("{}[{}]: {error}", self.list, entries.len()))
            };
            let next = list.next_element::<Object<T::Read>>().map_err(|e| place(&e))?;
            let Some(Object(read)) = next else { break };
            let entry = T::finish(read).map_err(|e| place(&e))?;
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// An integer of at least 0, also in the form `640.0` that tools write after a detour through floats.
fn unsigned<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<u64>, A::Error> {
    struct Unsigned(u64);
    struct UnsignedVisitor;
    impl Visitor<'_> for UnsignedVisitor {
        type Value = Unsigned;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer of at least 0")
        }

        fn visit_u64<E: de::Error>(self, n: u64) -> Result<Unsigned, E> {
            Ok(Unsigned(n))
        }

        fn visit_f64<E: de::Error>(self, x: f64) -> Result<Unsigned, E> {
            // 2⁵³: beyond it, floating point does not represent every integer.
            if x.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&x) {
                return Ok(Unsigned(x as u64));
            }
            Err(E::invalid_value(Unexpected::Float(x), &self))
        }
    }
    impl<'de> Deserialize<'de> for Unsigned {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(UnsignedVisitor)
        }
    }
    Ok(map.next_value::<Option<Unsigned>>()?.map(|n| n.0))
}

/// A name, which other tools may have written as a number.
fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<String>, A::Error> {
    Ok(map.next_value::<Option<ImageId>>()?.map(|name| name.to_string()))
}

/// `iscrowd`: 0 or 1, as a number or a boolean.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0 or 1")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Flag, E> {
                match n {
                    0 | 1 => Ok(Flag(n == 1)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(n), &self)),
                }
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

/// XYWH.
struct Bbox([f64; 4]);

impl<'de> Deserialize<'de> for Bbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BboxVisitor;
        impl<'de> Visitor<'de> for BboxVisitor {
            type Value = Bbox;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bbox of four numbers, [x, y, width, height]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bbox, A::Error> {
                let mut bbox = [0.0; 4];
                for (i, side) in bbox.iter_mut().enumerate() {
                    *side =
                        list.next_element()?.ok_or_else(|| de::Error::invalid_length(i, &self))?;
                }
                match list.next_element::<de::IgnoredAny>()? {
                    Some(_) => Err(de::Error::invalid_length(5, &self)),
                    None => Ok(Bbox(bbox)),
                }
            }
        }
        deserializer.deserialize_any(BboxVisitor)
    }
}
