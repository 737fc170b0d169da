//! A COCO file read entry by entry, so that a fault in one does not hide the others.
//!
//! This is a pass of its own: [`coco`](crate::coco) reads an entry in one go and stops at its first
//! fault, while here each value stays unread until it is asked for, and its fault is a finding. Single
//! values are read by the same types.

use std::{borrow::Cow, path::Path};

use crate::coco::{Extra, FILE, Object, located, without_mark};
use anyhow::Result;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, Visitor},
};
use serde_json::value::RawValue;

use crate::findings::{Code, Findings, Place};
use sonotune_base::Error;

/// The text of a file in which NaN and Infinity, which are not valid JSON but which Python writes
/// anyway, are strings: `"NaN"`. [`Lax`] reads them.
pub(super) fn quoted_nan(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = without_mark(bytes);
    if serde_json::from_slice::<de::IgnoredAny>(bytes).is_ok() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let (mut at, mut in_text) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let word: &[u8] = if in_text { b"" } else { no_number(&bytes[at..]) };
        if !word.is_empty() {
            out.push(b'"');
            out.extend_from_slice(word);
            out.push(b'"');
            at += word.len();
            continue;
        }
        // An escaped quote does not end a string.
        if in_text && byte == b'\\' && at + 1 < bytes.len() {
            out.push(byte);
            at += 1;
        } else if byte == b'"' {
            in_text = !in_text;
        }
        out.push(bytes[at]);
        at += 1;
    }
    Cow::Owned(out)
}

fn no_number(rest: &[u8]) -> &'static [u8] {
    let words: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    words.into_iter().find(|word| rest.starts_with(word)).unwrap_or(b"")
}

/// The lists of a COCO file, with unparsed entries.
#[derive(Debug, Default)]
pub(super) struct Lists<'a> {
    pub(super) info: Option<&'a RawValue>,
    pub(super) images: Vec<&'a RawValue>,
    pub(super) annotations: Vec<&'a RawValue>,
    pub(super) categories: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct TopLevel<'a> {
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(borrow)]
    images: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    categories: Option<&'a RawValue>,
}

impl<'a> Lists<'a> {
    /// Reads what [`quoted_nan`] made of the file at `path`.
    ///
    /// # Errors
    /// If it is not JSON, or not an object with the three lists.
    pub(super) fn read(bytes: &'a [u8], path: &Path) -> Result<Self> {
        let refused = |what: String| Error::data(format!("{}: {what}", path.display()));
        let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
        if first.is_some_and(|&b| b != b'{') {
            return Err(refused(FILE.to_owned()).into());
        }
        let top: TopLevel<'_> =
            serde_json::from_slice(bytes).map_err(|e| located(&e, bytes, path))?;
        let list = |key: &str, raw: Option<&'a RawValue>| -> Result<Vec<&'a RawValue>> {
            let raw = raw.ok_or_else(|| refused(format!("`{key}` is missing: expected {FILE}")))?;
            serde_json::from_str(raw.get())
                .map_err(|_| refused(format!("`{key}` is not a list, but {}", shown(raw))).into())
        };
        Ok(Self {
            info: top.info,
            images: list("images", top.images)?,
            annotations: list("annotations", top.annotations)?,
            categories: list("categories", top.categories)?,
        })
    }
}

/// Why an entry cannot be used.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) got: String,
}

impl Refused {
    pub(super) fn new(code: Code, got: impl Into<String>) -> Self {
        Self { code, got: got.into() }
    }

    /// What can be used; the rest becomes a finding.
    pub(super) fn report<T>(
        result: Result<T, Self>,
        findings: &mut Findings,
        place: impl FnOnce() -> Place,
    ) -> Option<T> {
        result.map_err(|refused| findings.add(refused.code, place(), refused.got)).ok()
    }
}

/// An entry's keys, their values unread.
pub(super) fn entry(raw: &RawValue) -> Result<Extra, Refused> {
    serde_json::from_str(raw.get()).map(|Object(keys)| keys).map_err(|_| {
        Refused::new(Code::MalformedEntry, format!("not an object, but {}", shown(raw)))
    })
}

/// The value of `key`; `code` is the kind of finding for a value of the wrong type.
pub(super) fn value<T: DeserializeOwned>(
    keys: &Extra,
    key: &str,
    code: Code,
) -> Result<Option<T>, Refused> {
    if keys.0.iter().filter(|(k, _)| **k == *key).count() > 1 {
        return Err(Refused::new(Code::MalformedEntry, format!("duplicate field `{key}`")));
    }
    let Some(raw) = keys.get(key).filter(|raw| raw.get() != "null") else { return Ok(None) };
    serde_json::from_str(raw.get()).map(Some).map_err(|error| {
        let text = raw.get();
        let no_number =
            ["\"NaN\"", "\"Infinity\"", "\"-Infinity\""].iter().any(|w| text.contains(w));
        if no_number || error.to_string().contains("number out of range") {
            return Refused::new(Code::BadNumber, format!("`{key}` is {}", shown(raw)));
        }
        Refused::new(code, format!("`{key}`: {}", short(&error)))
    })
}

/// Same as [`value`], but the key must be there.
pub(super) fn required<T: DeserializeOwned>(keys: &Extra, key: &str) -> Result<T, Refused> {
    value(keys, key, Code::MalformedEntry)?
        .ok_or_else(|| Refused::new(Code::MalformedEntry, format!("`{key}` is missing")))
}

/// serde_json's message without its position, which is relative to the start of the value.
fn short(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]).to_owned()
}

/// The beginning of a value.
fn shown(raw: &RawValue) -> String {
    const LENGTH: usize = 60;
    let text = raw.get().replace("\"NaN\"", "NaN").replace("Infinity\"", "Infinity");
    let text = text.replace("\"Infinity", "Infinity").replace("\"-Infinity", "-Infinity");
    if text.chars().count() <= LENGTH {
        return text;
    }
    text.chars().take(LENGTH).chain("...".chars()).collect()
}

/// A number, or one of the words of [`quoted_nan`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Lax(pub(super) f64);

impl<'de> Deserialize<'de> for Lax {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LaxVisitor;
        impl Visitor<'_> for LaxVisitor {
            type Value = Lax;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Lax, E> {
                Ok(Lax(x))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Lax, E> {
                Ok(Lax(n as f64))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Lax, E> {
                Ok(Lax(n as f64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lax, E> {
                match text {
                    "NaN" => Ok(Lax(f64::NAN)),
                    "Infinity" => Ok(Lax(f64::INFINITY)),
                    "-Infinity" => Ok(Lax(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(LaxVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_numbers_become_texts_and_texts_stay() {
        let json = br#"{"a": NaN, "NaN \" NaN": [-Infinity, Infinity, 1], "b\\": NaN}"#;
        let expected = r#"{"a": "NaN", "NaN \" NaN": ["-Infinity", "Infinity", 1], "b\\": "NaN"}"#;
        assert_eq!(std::str::from_utf8(&quoted_nan(json)).unwrap(), expected);
        assert!(matches!(quoted_nan(br#"{"a": "NaN"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_value_that_is_no_number_is_told_from_one_of_another_type() {
        let read = |json: &str| {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            let keys = Extra(vec![("area".into(), raw)]);
            value::<f64>(&keys, "area", Code::MalformedEntry).unwrap_err()
        };
        for (json, code, got) in [
            ("1e999", Code::BadNumber, "`area` is 1e999"),
            ("\"NaN\"", Code::BadNumber, "`area` is NaN"),
            ("\"4\"", Code::MalformedEntry, "`area`: invalid type: string \"4\", expected f64"),
        ] {
            let refused = read(json);
            assert_eq!((refused.code, refused.got.as_str()), (code, got));
        }
    }
}
