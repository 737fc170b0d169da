//! What sort of image file it is, by its first bytes.

use std::{fs::File, io::Read, path::Path};

use sonotune_base::file_kind::{FileKind, Sort};
use sonotune_formats::dicom::is_dicom;

/// File extensions of the image formats that can be decoded, lower case. Browsers and Windows write JPEG under
/// several.
pub const IMAGE_EXTENSIONS: [&str; 13] = [
    "png", "jpg", "jpeg", "jpe", "jif", "jfif", "pjp", "pjpeg", "bmp", "dib", "tif", "tiff", "webp",
];

/// Whether the name has the extension of an ordinary image, in upper or lower case.
#[must_use]
pub fn has_image_ending(path: &Path) -> bool {
    has_ending(path, &IMAGE_EXTENSIONS)
}

/// Whether the name has one of `endings`, which are in lower case, in upper or lower case.
#[must_use]
pub(crate) fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|e| e.to_str());
    ending.is_some_and(|e| endings.contains(&e.to_ascii_lowercase().as_str()))
}

/// Enough for every signature.
const HEAD_BYTES: u64 = 512;

/// How a file's pixels are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One image; also everything that is none of the others, which the decoder of images refuses in words.
    Image,
    Dicom,
    /// A video or a GIF.
    Clip,
}

impl Kind {
    /// The kind of the file at `path`; one that cannot be read counts as an image.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
        if read.is_ok() { Self::of_bytes(&head) } else { Self::Image }
    }

    /// Same as [`of`](Self::of), except that a file called an image is not opened: a split may have a hundred
    /// thousand, and then no entry of it names a frame.
    #[must_use]
    pub fn of_named(path: &Path) -> Self {
        if has_image_ending(path) { Self::Image } else { Self::of(path) }
    }

    /// The kind of a file that begins with `head`.
    #[must_use]
    pub fn of_bytes(head: &[u8]) -> Self {
        if is_dicom(head) {
            return Self::Dicom;
        }
        let is_frames = FileKind::of(head).is_some_and(|kind| kind.sort == Sort::Frames);
        if is_frames || is_bare_video(head) { Self::Clip } else { Self::Image }
    }
}

/// Videos without a signature of their own: MPEG-1 and MPEG-2 streams, old QuickTime.
fn is_bare_video(head: &[u8]) -> bool {
    let is_mpeg = head.starts_with(&[0, 0, 1, 0xba]) || head.starts_with(&[0, 0, 1, 0xb3]);
    let is_transport = [0, 188, 376].iter().all(|&at| head.get(at) == Some(&0x47));
    let is_quicktime =
        matches!(head.get(4..8), Some(b"moov" | b"mdat" | b"free" | b"wide" | b"skip"));
    is_mpeg || is_transport || is_quicktime
}
