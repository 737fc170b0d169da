//! Identifiers in annotation files.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

use crate::json::{restored, spells_nan};

/// Id of an image or annotation: an integer of up to 128 bits (US-43d's tools write UUIDs as
/// integers), or a string.
///
/// `5` and `"5"` are different ids. JSON output keeps the spelling of the input. Reading uses
/// the text of the number, since JSON readers round integers that exceed 64 bits; for that,
/// `serde_json` must read directly from text or a stream, not from a `Value`, nor through
/// `#[serde(flatten)]` or `#[serde(untagged)]`. For the same reason `serde_json::to_value` and
/// `json!` refuse ids that exceed 64 bits: serialise a struct instead.
///
/// Numbers sort by value and come before strings, which sort by code point.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageId {
    Unsigned(u128),
    Negative(i128),
    Text(Box<str>),
}

impl ImageId {
    /// The same id in the other spelling: 5 for `"5"` and `"5"` for 5.
    #[must_use]
    pub fn respelled(&self) -> Option<Self> {
        match self {
            Self::Text(text) => parse_integer(text).ok().filter(|id| id.to_string() == **text),
            number => Some(Self::Text(number.to_string().into())),
        }
    }
}

impl ImageId {
    /// Parses a JSON value as an id.
    ///
    /// # Errors
    /// If it is something else; the message quotes it.
    pub fn from_json(json: &str) -> Result<Self, String> {
        // Fast path: nearly every id is a plain number.
        match json.parse::<u64>() {
            Ok(n) => Ok(Self::from(n)),
            Err(_) => parse_json(json),
        }
    }
}

impl Ord for ImageId {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Negative(a), Self::Negative(b)) => a.cmp(b),
            (Self::Unsigned(a), Self::Unsigned(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Negative(_), _) | (Self::Unsigned(_), Self::Text(_)) => Ordering::Less,
            (_, Self::Negative(_)) | (Self::Text(_), Self::Unsigned(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for ImageId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<u64> for ImageId {
    fn from(n: u64) -> Self {
        Self::Unsigned(n.into())
    }
}

impl From<&str> for ImageId {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(n) => n.fmt(f),
            Self::Negative(n) => n.fmt(f),
            Self::Text(s) => s.fmt(f),
        }
    }
}

impl Serialize for ImageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(n) => match u64::try_from(*n) {
                Ok(n) => serializer.serialize_u64(n),
                Err(_) => serializer.serialize_u128(*n),
            },
            Self::Negative(n) => match i64::try_from(*n) {
                Ok(n) => serializer.serialize_i64(n),
                Err(_) => serializer.serialize_i128(*n),
            },
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for ImageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        parse_json(raw.get()).map_err(D::Error::custom)
    }
}

/// Reads one JSON value as an id.
fn parse_json(json: &str) -> Result<ImageId, String> {
    if json.starts_with('"') && !spells_nan(json) {
        let text: String = serde_json::from_str(json).map_err(|e| e.to_string())?;
        return Ok(ImageId::Text(text.into()));
    }
    if json.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return parse_integer(json);
    }
    let shown: String = restored(json).chars().take(40).collect();
    Err(format!("an id must be an integer or a string, got `{shown}`"))
}

/// Reads a decimal integer of up to 128 bits. A fraction of zeros is allowed: tables that pass
/// through floating point write 5 as `5.0`.
fn parse_integer(text: &str) -> Result<ImageId, String> {
    let digits = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|b| b == b'0') => {
            whole
        }
        _ => text,
    };
    let magnitude = digits.strip_prefix('-').unwrap_or(digits);
    if magnitude.is_empty() || !magnitude.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("an id must be an integer or a string, got `{text}`"));
    }
    let too_big = |_| format!("id {text} does not fit into 128 bits: write it as a string");
    if magnitude.len() == digits.len() {
        return u128::from_str(digits).map(ImageId::Unsigned).map_err(too_big);
    }
    match i128::from_str(digits).map_err(too_big)? {
        0 => Ok(ImageId::Unsigned(0)),
        n => Ok(ImageId::Negative(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ImageId, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn every_spelling_comes_back_as_it_was() {
        for json in [
            "0",
            "5",
            "18446744073709551615",
            "18446744073709551616",
            "340282366920938463463374607431768211455",
            "-1",
            "-9223372036854775809",
            "-170141183460469231731687303715884105728",
            "\"5\"",
            "\"\"",
            r#""a\"b\\c é""#,
        ] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn a_number_and_its_text_differ_and_can_be_respelled() {
        let (number, text) = (ImageId::from(5), ImageId::from("5"));
        assert_ne!(number, text);
        assert_eq!(text.respelled(), Some(number.clone()));
        assert_eq!(number.respelled(), Some(text));
        assert_eq!(ImageId::from("05").respelled(), None);
        assert_eq!(ImageId::from("-0").respelled(), None);
        assert_eq!(ImageId::from("scan 3").respelled(), None);
    }

    #[test]
    fn numbers_sort_by_value_and_before_texts() {
        let sorted = ["-20", "-3", "0", "3", "18446744073709551616", "\"10\"", "\"9\""];
        let mut ids: Vec<ImageId> = sorted.iter().rev().map(|json| read(json).unwrap()).collect();
        ids.sort();
        let ids: Vec<_> = ids.iter().map(|id| serde_json::to_string(id).unwrap()).collect();
        assert_eq!(ids, sorted);
    }

    #[test]
    fn a_fraction_of_zeros_is_an_integer_and_any_other_is_not() {
        assert_eq!(read("5.0"), Ok(ImageId::from(5)));
        assert_eq!(read("-0"), Ok(ImageId::from(0)));
        for json in ["5.5", "1e3", "true", "[1]", "{}", "5.0e1"] {
            let error = read(json).unwrap_err();
            assert!(error.contains("must be an integer or a string"), "{json}: {error}");
        }
        assert!(read("340282366920938463463374607431768211456").unwrap_err().contains("128 bits"));
        assert!(read("-170141183460469231731687303715884105729").unwrap_err().contains("128 bits"));
    }
}
