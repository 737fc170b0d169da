//! Text files as spreadsheets and annotation tools save them.

use std::borrow::Cow;

use sonotune_base::Error;

/// Replaces what is not UTF-8.
pub(crate) const GARBLED: char = char::REPLACEMENT_CHARACTER;

/// The text of the file `path`: UTF-8, or UTF-16 if its byte order mark says so. Bytes that are not UTF-8
/// become [`GARBLED`], since they often are where nobody reads.
///
/// # Errors
/// If the bytes are not text, or in another encoding; says what they seem to be.
pub(crate) fn decode<'a>(bytes: &'a [u8], path: &str) -> Result<Cow<'a, str>, Error> {
    let units = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = rest.as_chunks::<2>();
        let text = char::decode_utf16(pairs.iter().map(|&pair| unit(pair)));
        let text: Result<String, _> = text.collect();
        match text {
            Ok(text) if odd.is_empty() => Ok(Cow::Owned(text)),
            _ => Err(Error::data(format!(
                "{path}: is damaged: it begins as UTF-16, but is not; save it again, as UTF-8"
            ))),
        }
    };
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            Err(Error::data(format!("{path}: is text in UTF-32; save it as UTF-8")))
        }
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(String::from_utf8_lossy(rest)),
        _ => match not_text(bytes) {
            Some(what) => Err(Error::data(format!("{path}: {what}"))),
            None => Ok(String::from_utf8_lossy(bytes)),
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
        .then_some("has NUL bytes, as UTF-16 without a byte order mark has; save it as UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_read_or_named() {
        let text = "id;größe 良\n1;\u{1f600}\n";
        let utf16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect();
        let (little, big): (Vec<u8>, Vec<u8>) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
        for (mark, rest) in [
            (b"".as_slice(), text.as_bytes()),
            (b"\xef\xbb\xbf", text.as_bytes()),
            (b"\xff\xfe", &little),
            (b"\xfe\xff", &big),
        ] {
            assert_eq!(decode(&[mark, rest].concat(), "x").unwrap(), text, "{mark:x?}");
        }
        assert_eq!(decode(b"a,gr\xf6n", "x").unwrap(), "a,gr\u{fffd}n");
        for (bytes, says) in [
            (&*little, "UTF-16 without a byte order mark"),
            (b"\xff\xfea", "is damaged: it begins as UTF-16"),
            (b"\xff\xfe\0\xd8a\0", "is damaged: it begins as UTF-16"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
            (b"PK\x03\x04....", "a spreadsheet or an archive"),
            (b"\x1f\x8b\x08", "gzip"),
        ] {
            let error = decode(bytes, "t.csv").unwrap_err().to_string();
            assert!(error.starts_with("t.csv: ") && error.contains(says), "{error}");
        }
    }
}
