//! JSON objects and lists, read key by key into structs, with errors that say where.

use std::{
    borrow::Cow, collections::HashMap, fmt, marker::PhantomData, path::Path, sync::OnceLock,
};

use anyhow::Result;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use sonotune_base::{
    Error, ImageId,
    json::{quoted_nan, restored},
};

use super::{Extra, join, text::text, tools::other_json};

/// A struct that takes the pairs of a JSON object one by one.
///
/// serde's derived form would also read it from a list, and its `flatten`, which could keep unknown
/// keys, loses ids beyond 64 bits.
pub trait Fields: Default {
    /// What it is read from, for messages.
    const EXPECTED: &'static str = "an object";
    const MANNER: Manner = Manner::Strict;

    /// Takes the value of `pair.key`, or passes the pair on.
    ///
    /// # Errors
    /// When the value has another type.
    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error>;

    /// Called at the end of the object.
    ///
    /// # Errors
    /// When something is missing.
    fn finish<E: de::Error>(&self) -> Result<(), E> {
        Ok(())
    }
}

/// How objects that are not quite in order are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A repeated key is an error, and so is a list that the file lacks.
    Strict,
    /// The last of repeated keys counts, as in Python; a list that the file lacks is empty.
    Tolerant,
}

/// A key of a JSON object; its value has not been read yet.
///
/// Every method fails if the value is of another type, or if it is not JSON.
pub struct Pair<'a, A> {
    pub key: &'a str,
    map: &'a mut A,
    manner: Manner,
}

impl<'de, A: MapAccess<'de>> Pair<'_, A> {
    /// Reads the value.
    pub fn value<T: Deserialize<'de>>(self) -> Result<T, A::Error> {
        self.seeded(PhantomData::<T>)
    }

    /// Reads the value into `slot`; `null` is none.
    pub fn fill<T: Deserialize<'de>>(self, slot: &mut Option<T>) -> Result<(), A::Error> {
        self.check_first(slot)?;
        *slot = self.value()?;
        Ok(())
    }

    /// Reads the value into `slot`; what `null` means is up to `T`.
    pub fn put<T: Deserialize<'de>>(self, slot: &mut Option<T>) -> Result<(), A::Error> {
        self.check_first(slot)?;
        *slot = Some(self.value()?);
        Ok(())
    }

    /// Reads the list of the name `key` into `slot`; an error says at which entry.
    pub fn list<T: Fields>(self, slot: &mut Option<Vec<T>>) -> Result<(), A::Error> {
        self.check_first(slot)?;
        let list = List { name: self.key, of: PhantomData };
        *slot = Some(self.seeded(list)?);
        Ok(())
    }

    /// Passes over the value.
    pub fn skip(self) -> Result<(), A::Error> {
        self.unknown::<IgnoredAny>().map(drop)
    }

    /// Reads the value of a key that has no meaning to the reader.
    pub(super) fn unknown<T: Deserialize<'de>>(self) -> Result<T, A::Error> {
        self.map.next_value()
    }

    fn seeded<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed).map_err(|error| with_key(self.key, &error))
    }

    fn check_first<T>(&self, slot: &Option<T>) -> Result<(), A::Error> {
        if slot.is_some() && self.manner == Manner::Strict {
            return Err(de::Error::custom(format!("duplicate field `{}`", self.key)));
        }
        Ok(())
    }
}

/// The error of a value with its key.
pub(super) fn with_key<E: de::Error>(key: &str, error: &E) -> E {
    let error = error.to_string();
    // Lists name themselves with their index.
    if error.starts_with(&format!("{key}[")) {
        E::custom(error)
    } else {
        E::custom(format!("`{key}`: {error}"))
    }
}

/// [`Fields`] from an object, and from nothing else.
pub struct Object<T>(pub T);

impl<'de, T: Fields> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Borrowed from the file: nearly every key is a known one.
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Fields> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<T>, A::Error> {
                let mut value = T::default();
                while let Some(Key(key)) = map.next_key()? {
                    value.take(Pair { key: &key, map: &mut map, manner: T::MANNER })?;
                }
                value.finish::<A::Error>()?;
                Ok(Object(value))
            }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

struct List<'a, T> {
    name: &'a str,
    of: PhantomData<T>,
}

impl<'de, T: Fields> DeserializeSeed<'de> for List<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Fields> Visitor<'de> for List<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the list `{}`", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
        let entries = entries(list, self.name, PhantomData::<Object<T>>)?;
        // In place: both have the same layout.
        Ok(entries.into_iter().map(|Object(entry)| entry).collect())
    }
}

/// Reads a list; an error says at which entry it happened.
pub(super) fn entries<'de, A: SeqAccess<'de>, S: DeserializeSeed<'de> + Copy>(
    mut list: A,
    name: &str,
    seed: S,
) -> Result<Vec<S::Value>, A::Error> {
    let mut entries = Vec::new();
    // serde_json takes line and column out of the inner message and puts them at the end of the
    // outer one.
    while let Some(entry) = list
        .next_element_seed(seed)
        .map_err(|error| de::Error::custom(format!("{name}[{}]: {error}", entries.len())))?
    {
        entries.push(entry);
    }
    Ok(entries)
}

/// Reads the bytes of the file at `path`.
///
/// # Errors
/// Names the file, the place in it (list, index, id, key, line, column), what was expected and found.
pub fn from_slice<T: Fields>(bytes: &[u8], path: &Path) -> Result<T> {
    let read = |json: &[u8]| serde_json::from_slice(json).map(|Object(file)| file);
    with_nan(&text(bytes, path)?, &OnceLock::new(), read, path, other_json)
}

/// Reads the [`text`] of the file at `path`; if that fails, with every NaN as a text, which `quoted` holds
/// then.
///
/// # Errors
/// Same errors as [`from_slice`].
pub(super) fn with_nan<'a, T>(
    text: &'a [u8],
    quoted: &'a OnceLock<Vec<u8>>,
    read: impl Fn(&'a [u8]) -> serde_json::Result<T>,
    path: &Path,
    other: fn(&[u8]) -> Option<String>,
) -> Result<T> {
    let error = match read(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match quoted_nan(text) {
        Cow::Borrowed(_) => Err(located(&error, text, path, other)),
        Cow::Owned(without) => {
            let text = quoted.get_or_init(|| without);
            read(text).map_err(|error| located(&error, text, path, other))
        }
    }
}

/// What is wrong with the JSON in `text`, which is that of the file at `path`; `other` says what a file is
/// that is not of the expected kind.
#[must_use]
pub fn located(
    error: &serde_json::Error,
    text: &[u8],
    path: &Path,
    other: fn(&[u8]) -> Option<String>,
) -> anyhow::Error {
    let message = placed(error, text);
    // Inside an entry the kind of error is lost, the words are not.
    let is_eof = error.is_eof() || message.contains("EOF while parsing");
    let what = match with_id(&message, text) {
        Some(message) => message,
        None if is_eof => {
            format!("the file ends too early (an interrupted copy?): {message}")
        }
        None if std::str::from_utf8(text).is_err() => {
            format!("is not UTF-8: save it as UTF-8; {message}")
        }
        None if text.trim_ascii_start().starts_with(b"{'") => {
            format!("is a Python dict, not JSON: write the file with json.dump; {message}")
        }
        // A list of the wrong type is one of this format.
        None if message.starts_with('`') => message,
        None => other(text).unwrap_or(message),
    };
    Error::data(format!("{}: {what}", path.display())).into()
}

/// The message with the place in the file as it was before [`quoted_nan`].
fn placed(error: &serde_json::Error, text: &[u8]) -> String {
    let message = error.to_string();
    let (line, column) = (error.line(), error.column());
    let Some(what) = message.strip_suffix(&format!(" at line {line} column {column}")) else {
        return message;
    };
    let row = text.split(|&byte| byte == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let before = String::from_utf8_lossy(&row[..column.min(row.len())]);
    let added = before.len() - restored(&before).len();
    format!("{what} at line {line} column {}", column - added)
}

/// The message `annotations[3]: …` with the id of that entry.
fn with_id(message: &str, text: &[u8]) -> Option<String> {
    let (list, rest) = message.split_once('[')?;
    let (index, what) = rest.split_once("]: ")?;
    let index: usize = index.parse().ok()?;
    let lists: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(text).ok()?;
    let entries: Vec<&RawValue> = serde_json::from_str(lists.get(list)?.get()).ok()?;
    let entry: &RawValue = entries.get(index)?;
    let Object(keys): Object<Extra> = serde_json::from_str(entry.get()).ok()?;
    let id = keys.get("id").and_then(|id| ImageId::from_json(id.get()).ok());
    Some(format!("{}: {what}", join::entry(list, index, id.as_ref())))
}
