//! The text of a file in whatever Unicode encoding it was saved.

use std::borrow::Cow;

use sonotune_base::unicode::to_utf8;

/// The text without its byte order mark, lines ended by `\n` or `\r\n`. UTF-16 is what PowerShell and
/// some editors of Windows write.
///
/// # Errors
/// If it is neither UTF-8 nor UTF-16: the line, and what to do.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let text = match to_utf8(bytes)? {
        Cow::Borrowed(bytes) => Cow::Borrowed(utf8(bytes)?),
        Cow::Owned(bytes) => Cow::Owned(utf8(&bytes)?.to_owned()),
    };
    // Lines of the old Mac OS, which spreadsheets still write.
    if text.contains('\r') && !text.contains('\n') {
        return Ok(Cow::Owned(text.replace('\r', "\n")));
    }
    Ok(text)
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        format!("line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8 or UTF-16")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_encodings_are_read_or_named() {
        let utf16: Vec<u8> = "ß 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&[b"\xff\xfe", &utf16[..]].concat()).unwrap(), "ß 1\n");
        assert_eq!(decode(b"a 1\rb 2\r").unwrap(), "a 1\nb 2\n");
        assert_eq!(decode(b"").unwrap(), "");
        let error = decode(b"a 1\nb\xe4r 2\n").unwrap_err();
        assert!(error.contains("line 2: byte 0xe4 is not UTF-8"), "{error}");
    }
}
