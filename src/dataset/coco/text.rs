//! The text of an annotation file, and what a file is that is not JSON.

use std::{borrow::Cow, path::Path};

use super::tools::remedy;
use crate::exports::Export;
use anyhow::Result;
use sonotune_base::{Error, FileKind, file_kind::Sort, image_io::format_name, unicode::to_utf8};

/// The JSON in the bytes of the file at `path`: UTF-8 without a byte order mark, decoded from UTF-16 if need
/// be.
///
/// # Errors
/// Says what the file is if it is not JSON, or that it is empty.
pub fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<Cow<'a, [u8]>> {
    let refused = |what: String| Error::data(format!("{}: {what}", path.display())).into();
    let text = match to_utf8(bytes).map_err(|what| refused(what.to_owned()))? {
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

const AS_JSON: &str = "export the annotations as COCO JSON";

/// What to do with a file that should be a COCO file; `name` is its own.
fn remedy_for(kind: FileKind, name: &str) -> String {
    let remedy = match kind.sort {
        Sort::Archive => "unpack it, and name the JSON file in it",
        Sort::EmptyArchive => "export it again",
        Sort::Compressed if kind.is_gzip() => {
            return format!(
                "unpack it (`gzip -dc < \"{name}\" > unpacked.json`), and name the result"
            );
        }
        Sort::Compressed => "unpack it, and name the result",
        Sort::Image | Sort::Frames | Sort::Dicom => "name the annotation file",
        Sort::Pointer(command) => return format!("run `{command}` in its repository"),
        Sort::Data if kind.is.contains("pickle") => "write the annotations with json.dump",
        Sort::Data | Sort::Convertible | Sort::Matlab | Sort::Nrrd | Sort::Office | Sort::Pdf => {
            AS_JSON
        }
    };
    remedy.to_owned()
}

/// What a file is that does not begin as JSON does, and what to do.
fn other_kind(bytes: &[u8], path: &Path) -> Option<String> {
    if let Some(kind) = FileKind::of(bytes) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Some(format!("is not JSON, but {}: {}", kind.is, remedy_for(kind, &name)));
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
    if let Some(tool) = Export::of_text(head) {
        return Some(format!("is not JSON, but {}: {}", tool.name(), remedy(tool)));
    }
    let line = head.lines().next().unwrap_or_default();
    let has_key = |key: &str| head.lines().any(|line| line.starts_with(key));
    let (what, remedy) = match head.to_lowercase() {
        low if low.starts_with("<!doctype html") || low.starts_with("<html") => (
            "a web page (HTML), such as one that asks for a login",
            "download the file again, logged in",
        ),
        low if low.starts_with('<') => ("an XML file", COCO),
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
        let utf16: Vec<u8> = "{\"é\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&utf16).unwrap(), "{\"é\"}");
        assert!(read(&utf16[..utf16.len() - 1]).unwrap_err().contains("UTF-16, but is damaged"));
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
            (b"\xff\xfe\0\0{\0\0\0", "is text in UTF-32"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "but a Git LFS pointer"),
            (b"\x80\x04\x95", "but a Python pickle: write the annotations with json.dump"),
            (b"\x89HDF\r\n\x1a\n", "but an HDF5 file: export the annotations as COCO JSON"),
            (b"GIF89a", "but a GIF: name the annotation file"),
            (b"\0\0\0\0\0", "holds only zeros"),
            (b"\x89PNG\r\n\x1a\n", "but an image (PNG)"),
            (b"\n<!DOCTYPE html>", "but a web page (HTML)"),
            (b"\xef\xbb\xbf<html>", "but a web page (HTML)"),
            (b"<?xml version='1.0'?><annotations><image", "but an XML export of CVAT"),
            (b"<annotation verified=\"no\"><folder>", "but a file of Pascal VOC boxes"),
            (b"<svg>", "is not JSON, but an XML file: name"),
            (b"0 0.5 0.5 0.2 0.1\n1 0.5 0.5 0.1 0.1", "but a file of YOLO labels"),
            (b"train: a\nval: b\nnames:\n  0: a", "but a data file of YOLO"),
            (b"filename,width,height\n", "but a table"),
        ];
        for (bytes, expected) in cases {
            let error = read(bytes).unwrap_err();
            assert!(error.starts_with("set/train.json: ") && error.contains(expected), "{error}");
        }
    }
}
