//! Text files as spreadsheets and annotation tools save them.

use std::borrow::Cow;

use sonotune_base::{Error, FileKind, file_kind::Sort, unicode::to_utf8};

/// Replaces what is not UTF-8.
pub const GARBLED: char = char::REPLACEMENT_CHARACTER;

/// The text of the file `path`, in UTF-8 or UTF-16. Bytes that are not UTF-8
/// become [`GARBLED`], since they often are where nobody reads.
///
/// # Errors
/// If the bytes are not text, or in another encoding; says what they seem to be.
pub fn decode<'a>(bytes: &'a [u8], path: &str) -> Result<Cow<'a, str>, Error> {
    let refused = |what: &str| Error::data(format!("{path}: {what}"));
    match to_utf8(bytes).map_err(refused)? {
        Cow::Owned(text) => Ok(Cow::Owned(String::from_utf8_lossy(&text).into_owned())),
        Cow::Borrowed(text) => match not_text(text) {
            Some(what) => Err(refused(&what)),
            None => Ok(String::from_utf8_lossy(text)),
        },
    }
}

fn not_text(bytes: &[u8]) -> Option<String> {
    let kind = FileKind::of(bytes);
    let remedy = kind.and_then(|kind| match kind.sort {
        Sort::Archive | Sort::Office => Some("save a spreadsheet as CSV in UTF-8".to_owned()),
        Sort::Compressed => Some("unpack it".to_owned()),
        Sort::Pointer(command) => Some(format!("run `{command}` in its repository")),
        _ => None,
    });
    if let Some((kind, remedy)) = kind.zip(remedy) {
        // Spreadsheets of today are ZIP archives.
        let or = if kind.sort == Sort::Archive { " or a spreadsheet" } else { "" };
        return Some(format!("is {}{or}, not text; {remedy}", kind.is));
    }
    let has_nul = bytes[..bytes.len().min(1000)].contains(&0);
    has_nul.then(|| "has NUL bytes, so it is not text; save it as UTF-8".to_owned())
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
            (
                b"PK\x03\x04....",
                "a ZIP archive or a spreadsheet, not text; save a spreadsheet as CSV",
            ),
            (b"\x1f\x8b\x08", "gzip"),
        ] {
            let error = decode(bytes, "t.csv").unwrap_err().to_string();
            assert!(error.starts_with("t.csv: ") && error.contains(says), "{error}");
        }
    }
}
