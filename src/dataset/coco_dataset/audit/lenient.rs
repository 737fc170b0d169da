//! A COCO file read entry by entry, so that a fault in one does not hide the others.
//!
//! This is a pass of its own: [`coco`](crate::coco) reads an entry in one go and stops at its first
//! fault, while here each value stays unread until it is asked for, and its fault is a finding. Single
//! values are read by the same types.

use std::path::Path;

use crate::coco::{Extra, FILE, Object, located, other_json};
use anyhow::Result;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::findings::{Code, Findings, Place};
use sonotune_base::{
    Error,
    json::{restored, spells_nan},
};

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
    /// Reads what [`quoted_nan`](sonotune_base::json::quoted_nan) made of the file at `path`.
    ///
    /// # Errors
    /// If it is not JSON, or not an object with the three lists.
    pub(super) fn read(bytes: &'a [u8], path: &Path) -> Result<Self> {
        let refused = |what: String| Error::data(format!("{}: {what}", path.display()));
        let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
        let other = |or: String| refused(other_json(bytes).unwrap_or(or));
        if first.is_some_and(|&b| b != b'{') {
            return Err(other(format!("expected {FILE}")).into());
        }
        let top: TopLevel<'_> =
            serde_json::from_slice(bytes).map_err(|e| located(&e, bytes, path, other_json))?;
        let list = |key: &str, raw: Option<&'a RawValue>| -> Result<Vec<&'a RawValue>> {
            let raw = raw.ok_or_else(|| other(format!("`{key}` is missing: expected {FILE}")))?;
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
        if spells_nan(raw.get()) || error.to_string().contains("number out of range") {
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
    let text = restored(raw.get());
    if text.chars().count() <= LENGTH {
        return text.into_owned();
    }
    text.chars().take(LENGTH).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use sonotune_base::json::{Number, quoted_nan};

    use super::*;

    #[test]
    fn a_value_that_is_no_number_is_told_from_one_of_another_type() {
        let read = |json: &str| {
            let raw: Box<RawValue> = serde_json::from_slice(&quoted_nan(json.as_bytes())).unwrap();
            let keys = Extra(vec![("area".into(), raw)]);
            value::<Number>(&keys, "area", Code::MalformedEntry).unwrap_err()
        };
        for (json, code, got) in [
            ("1e999", Code::BadNumber, "`area` is 1e999"),
            ("-Infinity", Code::BadNumber, "`area` is -Infinity"),
            (
                "\"4 px\"",
                Code::MalformedEntry,
                "`area`: invalid type: string \"4 px\", expected a number",
            ),
        ] {
            let refused = read(json);
            assert_eq!((refused.code, refused.got.as_str()), (code, got));
        }
    }
}
