//! What a file is that is not an image of a supported format: users meet these under an image's name.

use crate::file_kind::{FileKind, Sort};

const AS_PNG: &str = "save it as PNG";
const DICOM: &str = "export its frames as PNG, for example with DCMTK or pydicom";

/// What to do with a file of this sort that should be an image.
fn remedy(sort: Sort) -> String {
    let remedy = match sort {
        Sort::Image => AS_PNG,
        Sort::Frames => "save its frames as PNG",
        Sort::Dicom => DICOM,
        Sort::Convertible | Sort::Nrrd => "`sonotune data convert` makes images of it",
        Sort::Matlab | Sort::Data => "save its images as PNG",
        Sort::Archive | Sort::Compressed => "unpack it",
        Sort::EmptyArchive => "copy it again",
        Sort::Office | Sort::Pdf => "export its pictures as PNG",
        Sort::Pointer(command) => return format!("run `{command}`"),
    };
    remedy.to_owned()
}

/// What a file is if it is not an image of a supported format, and what to do, as the rest of a sentence:
/// `a GIF; save its frames as PNG`. `None` if its content is unknown.
#[must_use]
pub fn other_kind(bytes: &[u8]) -> Option<String> {
    if let Some(kind) = FileKind::of(bytes) {
        return Some(format!("{}; {}", kind.is, remedy(kind.sort)));
    }
    let (is, remedy) = match bytes {
        _ if is_bare_dicom(bytes) => ("a DICOM file without its preamble", DICOM),
        [_, ..] if bytes.iter().all(|&byte| byte == 0) => {
            ("a file of zeros only, as an interrupted download leaves it", "copy it again")
        }
        _ => text_kind(bytes)?,
    };
    Some(format!("{is}; {remedy}"))
}

/// Kinds of text, in any case and after any blanks.
fn text_kind(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_lowercase();
    let head = head.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if head.starts_with("<!doctype html") || head.starts_with("<html") {
        return Some(("a web page (HTML), as a failed download leaves it", "download it again"));
    }
    if head.starts_with("<svg") || (head.starts_with("<?xml") && head.contains("<svg")) {
        return Some(("an SVG drawing", AS_PNG));
    }
    None
}

/// Whether a file starts with a DICOM element of group 8, as old devices write it.
fn is_bare_dicom(bytes: &[u8]) -> bool {
    let Some(&[8, 0, element, 0, a, b, c, d]) = bytes.get(..8) else { return false };
    let explicit = a.is_ascii_uppercase() && b.is_ascii_uppercase();
    let implicit = b == 0 && c == 0 && d == 0 && a <= 64;
    matches!(element, 0 | 1 | 5 | 8 | 0x16 | 0x18) && (explicit || implicit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_under_an_images_name_are_told_by_content() {
        let mut dicom = vec![0; 128];
        dicom.extend(b"DICM\x02\0\0\0UL");
        let mut nifti = vec![0; 344];
        nifti.extend(b"n+1\0");
        let cases: &[(&[u8], &str)] = &[
            (&dicom, "a DICOM file; export"),
            (b"\x08\0\x05\0CS\x0a\0ISO_IR 100", "a DICOM file without its preamble; export"),
            (b"\x08\0\x08\0\x16\0\0\0ORIGINAL", "a DICOM file without its preamble; export"),
            (b"GIF89a", "a GIF; save its frames"),
            (b"\0\0\0\x20ftypheic", "an HEIC image"),
            (b"\0\0\0\x20ftypisom", "an MP4"),
            (b"RIFF\0\0\0\0AVI LIST", "an AVI video"),
            (b"  \n<!DOCTYPE html>", "a web page (HTML)"),
            (b"\xef\xbb\xbf<svg xmlns", "an SVG"),
            (b"<?xml version=\"1.0\"?>\n<svg", "an SVG"),
            (b"%PDF-1.7", "a PDF"),
            (b"PK\x03\x04", "a ZIP archive; unpack it"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
            (&nifti, "a NIfTI volume"),
            (&[0; 20], "a file of zeros"),
        ];
        for (bytes, expected) in cases {
            let kind = other_kind(bytes).unwrap_or_default();
            assert!(kind.starts_with(expected), "{kind} instead of {expected}");
        }
        for unknown in [&b""[..], b"\x89PNG\r\n\x1a\n", b"hello", b"<?xml version=\"1.0\"?><a/>"] {
            assert_eq!(other_kind(unknown), None);
        }
    }
}
