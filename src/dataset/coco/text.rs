//! The text of an annotation file, and what a file is that is not JSON.

use std::{borrow::Cow, path::Path};

use anyhow::{Context, Result};
use sonotune_base::{Error, image_io::format_name};

/// The JSON in the bytes of the file at `path`: UTF-8 without a byte order mark, decoded from UTF-16 if need
/// be.
///
/// # Errors
/// Says what the file is if it is not JSON, or that it is empty.
pub fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<Cow<'a, [u8]>> {
    let refused = |what: String| Error::data(format!("{}: {what}", path.display())).into();
    let text = match decoded(bytes).map_err(|error| refused(error.to_string()))? {
        Cow::Borrowed(text) => text,
        decoded => return Ok(decoded),
    };
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None if bytes.is_empty() => {
            Err(refused("is empty (0 bytes): export or copy it again".into()))
        }
        None => Err(refused("is empty (only blanks): export or copy it again".into())),
        Some(b'{' | b'[') => Ok(Cow::Borrowed(text)),
        Some(_) => match other_kind(bytes, path) {
            Some(what) => Err(refused(what)),
            None => Ok(Cow::Borrowed(text)),
        },
    }
}

/// UTF-8 without a byte order mark, from UTF-8 or UTF-16.
///
/// # Errors
/// If it is not valid UTF-16.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    let Some(units) = utf_16(bytes) else {
        return Ok(Cow::Borrowed(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)));
    };
    let text: Result<String, _> = char::decode_utf16(units).collect();
    let text = text.context("is UTF-16, but not valid: export it again")?;
    Ok(Cow::Owned(text.trim_start_matches('\u{feff}').as_bytes().to_owned()))
}

/// The units of UTF-16, which shows by its mark, or by the zero in its first character: a file of JSON
/// begins with ASCII.
fn utf_16(bytes: &[u8]) -> Option<impl Iterator<Item = u16>> {
    let read: fn([u8; 2]) -> u16 = match *bytes {
        [0xff, 0xfe, 0, 0, ..] => return None,
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [b'{' | b'[', 0, next, ..] if next != 0 => u16::from_le_bytes,
        [0xfe, 0xff, ..] | [0, b'{' | b'[', ..] => u16::from_be_bytes,
        _ => return None,
    };
    Some(bytes.chunks(2).map(move |pair| match *pair {
        [a, b] => read([a, b]),
        // Half a character: not valid.
        _ => 0xd800,
    }))
}

/// A signature at an offset, what it stands for, and what to do.
type Kind = (usize, &'static [u8], &'static str, &'static str);

const UNPACK: &str = "unpack it, and name the JSON file in it";
const AS_JSON: &str = "export the annotations as COCO JSON";

const KINDS: &[Kind] = &[
    (0, b"PK\x03\x04", "a ZIP archive", UNPACK),
    (0, b"PK\x05\x06", "a ZIP archive without files", "export it again"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!", "a RAR archive", UNPACK),
    (257, b"ustar", "a TAR archive", UNPACK),
    (0, b"BZh", "compressed with bzip2", "unpack it, and name the result"),
    (0, b"\xfd7zXZ\0", "compressed with xz", "unpack it, and name the result"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "unpack it, and name the result"),
    (0, b"\xff\xfe\0\0", "a text in UTF-32", "save it as UTF-8"),
    (0, b"\0\0\xfe\xff", "a text in UTF-32", "save it as UTF-8"),
    (0, b"\x80", "a Python pickle", "write the annotations with json.dump"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", AS_JSON),
    (0, b"\x93NUMPY", "a NumPy array", AS_JSON),
    (0, b"SQLite format 3\0", "an SQLite database", AS_JSON),
    (0, b"PAR1", "a Parquet table", AS_JSON),
    (0, b"%PDF", "a PDF", AS_JSON),
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer in place of the file",
        "run `git lfs pull` in its repository",
    ),
    (
        0,
        b"/annex/objects/",
        "a git-annex pointer in place of the file",
        "run `git annex get` in its repository",
    ),
];

/// What a file is that does not begin as JSON does, and what to do.
fn other_kind(bytes: &[u8], path: &Path) -> Option<String> {
    let fits = |(offset, magic, ..): &&Kind| {
        bytes.get(*offset..).is_some_and(|rest| rest.starts_with(magic))
    };
    if bytes.starts_with(b"\x1f\x8b") {
        let name = path.file_name().unwrap_or_default().display();
        return Some(format!(
            "is not JSON, but compressed with gzip: unpack it (`gzip -dc < \"{name}\" > unpacked.json`), and name \
             the result"
        ));
    }
    if let Some((.., what, remedy)) = KINDS.iter().find(fits) {
        return Some(format!("is not JSON, but {what}: {remedy}"));
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return Some("holds only zeros, as an interrupted copy leaves them: copy it again".into());
    }
    if let Some(format) = format_name(bytes) {
        return Some(format!("is not JSON, but an image ({format}): name the annotation file"));
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    other_text(head.trim_start_matches('\u{feff}').trim_start())
}

/// Texts that are not JSON, by their beginning.
fn other_text(head: &str) -> Option<String> {
    const COCO: &str = "name a COCO file instead";
    let line = head.lines().next().unwrap_or_default();
    let numbers: Vec<Option<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
    let has_key = |key: &str| head.lines().any(|line| line.starts_with(key));
    let (what, remedy) = match head.to_lowercase() {
        low if low.starts_with("<!doctype html") || low.starts_with("<html") => (
            "a web page (HTML), such as one that asks for a login",
            "download the file again, logged in",
        ),
        low if low.starts_with('<') => match () {
            () if low.contains("<annotations>") => {
                ("an XML file of CVAT", "in CVAT, export the task as \"COCO 1.0\"")
            }
            () if low.contains("<annotation") => {
                ("an XML file of Pascal VOC", "export or convert the annotations to COCO")
            }
            () => ("an XML file", COCO),
        },
        _ if numbers.len() >= 5 && numbers.iter().all(Option::is_some) => {
            ("a label file of YOLO", "export or convert the labels to COCO")
        }
        _ if has_key("names:") && (has_key("train:") || has_key("nc:")) => {
            ("a data file of YOLO (YAML)", "export or convert the labels to COCO")
        }
        _ if line.matches([',', ';', '\t']).count() >= 2 => ("a table, such as CSV", COCO),
        _ => return None,
    };
    Some(format!("is not JSON, but {what}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, String> {
        let path = Path::new("set/train.json");
        let text = text(bytes, path).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(text.into_owned()).unwrap())
    }

    #[test]
    fn json_is_read_in_every_encoding_that_shows() {
        const JSON: &str = " {\"é\": \"𝄞\"}";
        let units = |mark: bool| {
            let text = if mark { format!("\u{feff}{JSON}") } else { JSON.trim().to_owned() };
            text.encode_utf16().collect::<Vec<u16>>()
        };
        let little = |mark| units(mark).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let big = |mark| units(mark).into_iter().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        for bytes in [JSON.into(), format!("\u{feff}{JSON}").into_bytes(), little(true), big(true)]
        {
            assert_eq!(read(&bytes).unwrap(), JSON);
        }
        for bytes in [little(false), big(false)] {
            assert_eq!(read(&bytes).unwrap(), JSON.trim());
        }
        let half = &little(true)[..little(true).len() - 1];
        assert!(read(half).unwrap_err().contains("is UTF-16, but not valid"));
        // JSON with mistakes is the parser's business.
        assert_eq!(read(b"images: {").unwrap(), "images: {");
    }

    #[test]
    fn what_is_not_json_is_named() {
        let mut tar = vec![b'a'; 257];
        tar.extend(b"ustar\0");
        let cases: &[(&[u8], &str)] = &[
            (b"", "is empty (0 bytes)"),
            (b" \n", "is empty (only blanks)"),
            (b"PK\x03\x04..", "is not JSON, but a ZIP archive: unpack it"),
            (b"\x1f\x8b\x08", "(`gzip -dc < \"train.json\" > unpacked.json`), and name the result"),
            (&tar, "but a TAR archive"),
            (b"\xff\xfe\0\0{\0\0\0", "but a text in UTF-32"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "but a Git LFS pointer"),
            (b"\x80\x04\x95", "but a Python pickle"),
            (b"\0\0\0\0\0", "holds only zeros"),
            (b"\x89PNG\r\n\x1a\n", "but an image (PNG)"),
            (b"\n<!DOCTYPE html>", "but a web page (HTML)"),
            (b"\xef\xbb\xbf<html>", "but a web page (HTML)"),
            (b"<?xml version='1.0'?><annotations><image", "but an XML file of CVAT"),
            (b"<annotation verified=\"no\"><folder>", "but an XML file of Pascal VOC"),
            (b"<svg>", "is not JSON, but an XML file: name"),
            (b"0 0.5 0.5 0.2 0.1\n1 0.5", "but a label file of YOLO"),
            (b"train: a\nval: b\nnames:\n  0: a", "but a data file of YOLO"),
            (b"filename,width,height\n", "but a table"),
        ];
        for (bytes, expected) in cases {
            let error = read(bytes).unwrap_err();
            assert!(error.starts_with("set/train.json: ") && error.contains(expected), "{error}");
        }
    }
}
