//! The JSON of a COCO file, read straight into flat structs: a tree of values of a large file
//! takes gigabytes and loses ids beyond 64 bits.

use std::{fmt, marker::PhantomData, path::Path};

use anyhow::Result;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Unexpected, Visitor},
};

use crate::{
    Error,
    data::{ImageId, Segmentation},
};

#[derive(Debug, Deserialize)]
pub(super) struct CocoFile {
    pub(super) images: Entries<RawImage>,
    pub(super) annotations: Entries<RawAnnotation>,
    pub(super) categories: Entries<RawCategory>,
}

/// A COCO file of which only the categories matter; the rest is passed over.
#[derive(Debug, Deserialize)]
pub(super) struct CategoriesOnly {
    pub(super) categories: Entries<RawCategory>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawImage {
    pub(super) id: Option<ImageId>,
    pub(super) file_name: Option<Box<str>>,
    pub(super) height: Option<Integer>,
    pub(super) width: Option<Integer>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawAnnotation {
    pub(super) id: Option<ImageId>,
    pub(super) image_id: Option<ImageId>,
    pub(super) category_id: Option<Integer>,
    pub(super) bbox: Option<Bbox>,
    pub(super) area: Option<f64>,
    pub(super) iscrowd: Option<Flag>,
    #[serde(default)]
    pub(super) segmentation: Segmentation,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawCategory {
    pub(super) id: Option<Integer>,
    pub(super) name: Option<String>,
}

/// Reads the whole of a file's bytes.
///
/// # Errors
/// Names the file, the place in it (list, index, line, column), what was expected and found.
pub(super) fn from_slice<T: Described + DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T> {
    let bytes = without_mark(bytes);
    let read = serde_json::from_slice(bytes).map(|Object(file)| file);
    read.map_err(|error| located(&error, bytes, path))
}

/// The text of a file without its byte order mark.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// What is wrong with the JSON in `bytes`, which are those of the file at `path`.
pub(super) fn located(error: &serde_json::Error, bytes: &[u8], path: &Path) -> anyhow::Error {
    // Inside an entry the kind of error is lost, the words are not.
    let is_eof = error.is_eof() || error.to_string().contains("EOF while parsing");
    let what = if is_eof && !bytes.is_empty() {
        "the file ends too early (an interrupted copy?): "
    } else {
        ""
    };
    let hint = if near(bytes, error).is_some_and(names_no_number) {
        ". NaN and Infinity are no JSON: write null, or leave the key out"
    } else {
        ""
    };
    Error::data(format!("{}: {what}{error}{hint}", path.display())).into()
}

/// The text around the place of an error.
fn near<'a>(bytes: &'a [u8], error: &serde_json::Error) -> Option<&'a [u8]> {
    let line = bytes.split(|&b| b == b'\n').nth(error.line().checked_sub(1)?)?;
    let start = error.column().saturating_sub(10).min(line.len());
    Some(&line[start..(error.column() + 9).min(line.len())])
}

fn names_no_number(text: &[u8]) -> bool {
    let has = |word: &[u8]| text.windows(word.len()).any(|w| w == word);
    has(b"NaN") || has(b"Infinity")
}

/// A struct from an object alone: serde's derived form would take a list for the fields in turn.
struct Object<T>(T);

/// What a struct is read from, for messages.
pub(super) trait Described {
    const EXPECTED: &'static str;
}

impl Described for CocoFile {
    const EXPECTED: &'static str =
        "a COCO file: an object with the lists `images`, `annotations`, `categories`";
}
impl Described for CategoriesOnly {
    const EXPECTED: &'static str = CocoFile::EXPECTED;
}
impl Described for RawImage {
    const EXPECTED: &'static str = "an object with `id`, `file_name`, `height`, `width`";
}
impl Described for RawAnnotation {
    const EXPECTED: &'static str = "an object with `image_id`, `category_id`, `bbox`";
}
impl Described for RawCategory {
    const EXPECTED: &'static str = "an object with `id` and `name`";
}

impl<'de, T: Described + Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Described + Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// A list whose errors say at which entry they happened.
#[derive(Debug)]
pub(super) struct Entries<T>(pub(super) Vec<T>);

/// An entry's list, for messages.
pub(super) trait Entry: Described {
    const LIST: &'static str;
}

impl Entry for RawImage {
    const LIST: &'static str = "images";
}
impl Entry for RawAnnotation {
    const LIST: &'static str = "annotations";
}
impl Entry for RawCategory {
    const LIST: &'static str = "categories";
}

impl<'de, T: Entry + Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: Entry + Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "the list `{}`", T::LIST)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                // serde_json takes line and column out of the inner message and puts them at the
                // end of the outer one.
                while let Some(Object(entry)) = list.next_element().map_err(|error| {
                    de::Error::custom(format!("{}[{}]: {error}", T::LIST, entries.len()))
                })? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// An integer, also where a table that passed through floating point wrote `640.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Integer(pub(super) i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;
        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer of up to 64 bits")
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Integer, E> {
                Ok(Integer(n))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Integer, E> {
                i64::try_from(n)
                    .map(Integer)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(n), &self))
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Integer, E> {
                // 2⁵³: beyond it, floating point no longer tells neighbours apart.
                if x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0 {
                    return Ok(Integer(x as i64));
                }
                Err(E::invalid_value(Unexpected::Float(x), &self))
            }
        }
        deserializer.deserialize_any(IntegerVisitor)
    }
}

/// `iscrowd`: 0 or 1, as number or truth value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag(pub(super) bool);

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
#[derive(Debug, Clone, Copy)]
pub(super) struct Bbox(pub(super) [f64; 4]);

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
                let mut length = 4;
                while list.next_element::<de::IgnoredAny>()?.is_some() {
                    length += 1;
                }
                if length > 4 {
                    return Err(de::Error::invalid_length(length, &self));
                }
                Ok(Bbox(bbox))
            }
        }
        deserializer.deserialize_any(BboxVisitor)
    }
}
