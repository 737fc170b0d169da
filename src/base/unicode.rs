//! UTF-8 from whatever Unicode encoding a text was saved in.

use std::borrow::Cow;

/// The text in UTF-8 without its byte order mark. UTF-16, which spreadsheets, PowerShell and some editors
/// of Windows write, is recognised by its mark, or by the zero in its first character. Other bytes are
/// returned as they are: they may be in another encoding, or no text.
///
/// # Errors
/// If it is UTF-32 or damaged UTF-16: what it is and what to do, as the rest of a sentence about the file.
pub fn to_utf8(bytes: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    let (rest, unit): (_, fn([u8; 2]) -> u16) = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Err("is text in UTF-32; save it as UTF-8");
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => return Ok(Cow::Borrowed(rest)),
        [0xff, 0xfe, rest @ ..] => (rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => (rest, u16::from_be_bytes),
        [1..0x80, 0, next, ..] if *next != 0 => (bytes, u16::from_le_bytes),
        [0, 1..0x80, 0, next, ..] if *next != 0 => (bytes, u16::from_be_bytes),
        _ => return Ok(Cow::Borrowed(bytes)),
    };
    let (pairs, odd) = rest.as_chunks::<2>();
    let text: Result<String, _> =
        char::decode_utf16(pairs.iter().map(|&pair| unit(pair))).collect();
    match text {
        Ok(text) if odd.is_empty() && !text.contains('\0') => Ok(Cow::Owned(text.into_bytes())),
        _ => Err("begins as UTF-16, but is damaged; save it again, as UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_that_shows_gives_the_same_text() {
        let text = "id;größe 良\r\n1;\u{1f600}\n";
        let units =
            |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<_>>();
        let (little, big) = (units(u16::to_le_bytes), units(u16::to_be_bytes));
        for (mark, rest) in [
            (&b""[..], text.as_bytes()),
            (b"\xef\xbb\xbf", text.as_bytes()),
            (b"\xff\xfe", &little),
            (b"\xfe\xff", &big),
            (b"", &little),
            (b"", &big),
        ] {
            assert_eq!(&*to_utf8(&[mark, rest].concat()).unwrap(), text.as_bytes(), "{mark:x?}");
        }
        for other in [&b""[..], b"\0", b"a\0", b"\0\0\0\0", b"gr\xf6n", b"PK\x03\x04"] {
            assert_eq!(&*to_utf8(other).unwrap(), other);
        }
        for (bytes, expected) in [
            (&little[..little.len() - 1], "UTF-16"),
            (b"\xff\xfe\0\xd8a\0", "UTF-16"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
        ] {
            assert!(to_utf8(bytes).unwrap_err().contains(expected), "{bytes:x?}");
        }
    }
}
