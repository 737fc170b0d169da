//! JSON objects and lists, read key by key into structs, with errors that say where.

use std::{borrow::Cow, fmt, marker::PhantomData, path::Path};

use anyhow::Result;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use sonotune_base::Error;

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
    /// A repeated key is an error, and so is a list that the file lacks. Errors name the entry.
    Strict,
    /// The last of repeated keys counts, as in Python; a list that the file lacks is empty. Errors
    /// name the key as well.
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
        let read = self.map.next_value_seed(seed);
        match self.manner {
            Manner::Strict => read,
            Manner::Tolerant => read.map_err(|error| with_key(self.key, &error)),
        }
    }

    fn check_first<T>(&self, slot: &Option<T>) -> Result<(), A::Error> {
        if slot.is_some() && self.manner == Manner::Strict {
            return Err(de::Error::custom(format!("duplicate field `{}`", self.key)));
        }
        Ok(())
    }
}

fn with_key<E: de::Error>(key: &str, error: &E) -> E {
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
/// Names the file, the place in it (list, index, line, column), what was expected and found.
pub fn from_slice<T: Fields>(bytes: &[u8], path: &Path) -> Result<T> {
    let bytes = without_mark(bytes);
    let read = serde_json::from_slice(bytes).map(|Object(file)| file);
    read.map_err(|error| located(&error, bytes, path))
}

/// The text of a file without its byte order mark.
#[must_use]
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// What is wrong with the JSON in `bytes`, which are those of the file at `path`.
#[must_use]
pub fn located(error: &serde_json::Error, bytes: &[u8], path: &Path) -> anyhow::Error {
    // Inside an entry the kind of error is lost, the words are not.
    let is_eof = error.is_eof() || error.to_string().contains("EOF while parsing");
    let what = if is_eof && !bytes.is_empty() {
        "the file ends too early (an interrupted copy?): "
    } else {
        ""
    };
    let hint = if near(bytes, error).is_some_and(names_no_number) {
        ". NaN and Infinity are not valid JSON: write null, or leave the key out"
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
