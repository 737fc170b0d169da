//! What a file is that is not an image of a supported format: users meet these under an image's name.

/// A signature at an offset, what it stands for, and what to do.
struct Kind {
    offset: usize,
    magic: &'static [u8],
    is: &'static str,
    remedy: &'static str,
}

const AS_PNG: &str = "save it as PNG";
const FRAMES: &str = "save its frames as PNG";
const UNPACK: &str = "unpack it";
const CONVERT: &str = "`sonotune data convert` makes images of it";
const DICOM: &str = "export its frames as PNG, for example with DCMTK or pydicom";

/// The first that fits.
const KINDS: &[Kind] = &[
    kind(128, b"DICM", "a DICOM file", DICOM),
    kind(0, b"GIF8", "a GIF", FRAMES),
    kind(4, b"ftypheic", "an HEIC image", AS_PNG),
    kind(4, b"ftypheix", "an HEIC image", AS_PNG),
    kind(4, b"ftypmif1", "an HEIC or AVIF image", AS_PNG),
    kind(4, b"ftypmsf1", "an HEIC or AVIF image", AS_PNG),
    kind(4, b"ftypavif", "an AVIF image", AS_PNG),
    kind(4, b"ftypavis", "an AVIF image", AS_PNG),
    kind(4, b"ftyp", "an MP4 or QuickTime video", FRAMES),
    kind(8, b"AVI ", "an AVI video", FRAMES),
    kind(0, b"\x1aE\xdf\xa3", "a Matroska or WebM video", FRAMES),
    kind(0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image", AS_PNG),
    kind(0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", AS_PNG),
    kind(0, b"\0\0\0\x0cJXL ", "a JPEG XL image", AS_PNG),
    kind(0, b"\xff\x0a", "a JPEG XL image", AS_PNG),
    kind(0, b"8BPS", "a Photoshop file", AS_PNG),
    kind(0, b"\x76\x2f\x31\x01", "an OpenEXR image", AS_PNG),
    kind(0, b"\0\0\x01\0", "an icon", AS_PNG),
    kind(0, b"P2\n", "a PGM image", AS_PNG),
    kind(0, b"P3\n", "a PPM image", AS_PNG),
    kind(0, b"P5\n", "a PGM image", AS_PNG),
    kind(0, b"P5 ", "a PGM image", AS_PNG),
    kind(0, b"P6\n", "a PPM image", AS_PNG),
    kind(0, b"P6 ", "a PPM image", AS_PNG),
    kind(0, b"%PDF", "a PDF", "export its pictures as PNG"),
    kind(0, b"\x93NUMPY", "a NumPy array", CONVERT),
    kind(0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", CONVERT),
    kind(0, b"MATLAB 5.0", "a MATLAB file", "save its images as PNG"),
    kind(344, b"n+1\0", "a NIfTI volume", CONVERT),
    kind(4, b"n+2\0", "a NIfTI volume", CONVERT),
    kind(
        0,
        b"NRRD000",
        "an NRRD volume",
        "save it as NIfTI, of which `sonotune data convert` makes images",
    ),
    kind(0, b"ObjectType =", "a MetaImage volume", CONVERT),
    kind(0, b"PK\x03\x04", "a ZIP archive", UNPACK),
    kind(0, b"\x1f\x8b", "a gzip file", UNPACK),
    kind(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    kind(0, b"Rar!", "a RAR archive", UNPACK),
    kind(
        0,
        b"version https://git-lfs",
        "a Git LFS pointer instead of the file",
        "run `git lfs pull`",
    ),
];

const fn kind(offset: usize, magic: &'static [u8], is: &'static str, remedy: &'static str) -> Kind {
    Kind { offset, magic, is, remedy }
}

/// What a file is if it is not an image of a supported format, and what to do, as the rest of a sentence:
/// `a GIF; save its frames as PNG`. `None` if its content is unknown.
#[must_use]
pub fn other_kind(bytes: &[u8]) -> Option<String> {
    let fits =
        |kind: &&Kind| bytes.get(kind.offset..).is_some_and(|rest| rest.starts_with(kind.magic));
    let (is, remedy) = match KINDS.iter().find(fits) {
        Some(kind) => (kind.is, kind.remedy),
        None if is_bare_dicom(bytes) => ("a DICOM file without its preamble", DICOM),
        None if !bytes.is_empty() && bytes.iter().all(|&byte| byte == 0) => {
            ("a file of zeros only, as an interrupted download leaves it", "copy it again")
        }
        None => text_kind(bytes)?,
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
