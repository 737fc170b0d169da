//! Text files as spreadsheets and annotation tools save them.

use std::borrow::Cow;

use sonotune_base::{Error, unicode::to_utf8};

/// Replaces what is not UTF-8.
pub(crate) const GARBLED: char = char::REPLACEMENT_CHARACTER;

/// The text of the file `path`, in UTF-8 or UTF-16. Bytes that are not UTF-8
/// become [`GARBLED`], since they often are where nobody reads.
///
/// # Errors
/// If the bytes are not text, or in another encoding; says what they seem to be.
pub(crate) fn decode<'a>(bytes: &'a [u8], path: &str) -> Result<Cow<'a, str>, Error> {
    let refused = |what: &str| Error::data(format!("{path}: {what}"));
    match to_utf8(bytes).map_err(refused)? {
        Cow::Owned(text) => Ok(Cow::Owned(String::from_utf8_lossy(&text).into_owned())),
        Cow::Borrowed(text) => match not_text(text) {
            Some(what) => Err(refused(what)),
            None => Ok(String::from_utf8_lossy(text)),
        },
    }
}

fn not_text(bytes: &[u8]) -> Option<&'static str> {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    if begins(b"PK\x03\x04") || begins(b"\xd0\xcf\x11\xe0") {
        return Some(
            "is a spreadsheet or an archive, not text; save a spreadsheet as CSV in UTF-8",
        );
    }
    if begins(b"\x1f\x8b") {
        return Some("is compressed with gzip; unpack it with `gunzip`");
    }
    bytes[..bytes.len().min(1000)]
        .contains(&0)
        .then_some("has NUL bytes, so it is not text; save it as UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_read_or_named() {
        assert_eq!(decode(b"a,gr\xf6n", "x").unwrap(), "a,gr\u{fffd}n");
        for (bytes, says) in [
            (&b"\xff\xfea"[..], "UTF-16, but is damaged"),
            (b"a\0\0b", "has NUL bytes"),
            (b"PK\x03\x04....", "a spreadsheet or an archive"),
            (b"\x1f\x8b\x08", "gzip"),
        ] {
            let error = decode(bytes, "t.csv").unwrap_err().to_string();
            assert!(error.starts_with("t.csv: ") && error.contains(says), "{error}");
        }
    }
}
