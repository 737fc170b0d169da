//! The text of a file in whatever Unicode encoding it was saved.

use std::borrow::Cow;

/// The text without its byte order mark, lines ended by `\n` or `\r\n`. UTF-16 is what PowerShell and
/// some editors of Windows write.
///
/// # Errors
/// If it is neither UTF-8 nor UTF-16: the line, and what to do.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest)?,
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        // Text in Latin letters without a mark: every other byte is 0.
        [a, 0, ..] if *a != 0 => Cow::Owned(utf16(bytes, u16::from_le_bytes)?),
        [0, b, ..] if *b != 0 => Cow::Owned(utf16(bytes, u16::from_be_bytes)?),
        _ => utf8(bytes)?,
    };
    // Lines of the old Mac OS, which spreadsheets still write.
    if text.contains('\r') && !text.contains('\n') {
        return Ok(Cow::Owned(text.replace('\r', "\n")));
    }
    Ok(text)
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        format!("line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8 or UTF-16")
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    let text =
        String::from_utf16(&units).ok().filter(|text| rest.is_empty() && !text.contains('\0'));
    text.ok_or_else(|| "UTF-16 that is damaged; save the file as UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unicode_encoding_gives_the_same_text() {
        let expected = "a.png gutartig\r\nß.png bösartig\n";
        let units: Vec<u16> = expected.encode_utf16().collect();
        let le: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let be: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for bytes in [
            expected.as_bytes().to_vec(),
            marked(b"\xef\xbb\xbf", expected.as_bytes()),
            marked(b"\xff\xfe", &le),
            marked(b"\xfe\xff", &be),
            le.clone(),
            be,
        ] {
            assert_eq!(decode(&bytes).unwrap(), expected, "{bytes:?}");
        }
        assert_eq!(decode(b"a 1\rb 2\r").unwrap(), "a 1\nb 2\n");
        assert_eq!(decode(b"").unwrap(), "");
        let error = decode(b"a 1\nb\xe4r 2\n").unwrap_err();
        assert!(error.contains("line 2: byte 0xe4 is not UTF-8"), "{error}");
        for damaged in [&le[..le.len() - 1], b"\xff\xfe\x00\xd8a\x00", b"\xff\xfe\0\0a\0\0\0"] {
            assert!(decode(damaged).unwrap_err().contains("UTF-16"), "{damaged:?}");
        }
    }
}
