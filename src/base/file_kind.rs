//! What a file is by its first bytes: users meet each of these under the name of another.

/// What a signature stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind {
    /// With its article: `a ZIP archive`.
    pub is: &'static str,
    pub sort: Sort,
}

/// What can be done about a file depends on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// An image of a format that is not read.
    Image,
    /// Several images in time.
    Frames,
    Dicom,
    /// An array or a volume that `data convert` reads.
    Convertible,
    Matlab,
    Nrrd,
    /// Holds other files.
    Archive,
    /// An archive that holds no file.
    EmptyArchive,
    /// One file, compressed.
    Compressed,
    /// Tables and objects of programs.
    Data,
    Office,
    Pdf,
    /// A text in place of the file; the command that fetches it.
    Pointer(&'static str),
}

const GZIP: &str = "a gzip file";

/// The first that fits counts: an offset, the bytes there, and what they stand for.
const SIGNATURES: &[(usize, &[u8], &str, Sort)] = &[
    (128, b"DICM", "a DICOM file", Sort::Dicom),
    (0, b"GIF8", "a GIF", Sort::Frames),
    (4, b"ftypheic", "an HEIC image", Sort::Image),
    (4, b"ftypheix", "an HEIC image", Sort::Image),
    (4, b"ftypmif1", "an HEIC or AVIF image", Sort::Image),
    (4, b"ftypmsf1", "an HEIC or AVIF image", Sort::Image),
    (4, b"ftypavif", "an AVIF image", Sort::Image),
    (4, b"ftypavis", "an AVIF image", Sort::Image),
    (4, b"ftyp", "an MP4 or QuickTime video", Sort::Frames),
    (8, b"AVI ", "an AVI video", Sort::Frames),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video", Sort::Frames),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image", Sort::Image),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", Sort::Image),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image", Sort::Image),
    (0, b"\xff\x0a", "a JPEG XL image", Sort::Image),
    (0, b"8BPS", "a Photoshop file", Sort::Image),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image", Sort::Image),
    (0, b"\0\0\x01\0", "an icon", Sort::Image),
    (0, b"P2\n", "a PGM image", Sort::Image),
    (0, b"P3\n", "a PPM image", Sort::Image),
    (0, b"P5\n", "a PGM image", Sort::Image),
    (0, b"P5 ", "a PGM image", Sort::Image),
    (0, b"P6\n", "a PPM image", Sort::Image),
    (0, b"P6 ", "a PPM image", Sort::Image),
    (0, b"%PDF", "a PDF", Sort::Pdf),
    (0, b"\x93NUMPY", "a NumPy array", Sort::Convertible),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", Sort::Convertible),
    (0, b"MATLAB 5.0", "a MATLAB file", Sort::Matlab),
    (344, b"n+1\0", "a NIfTI volume", Sort::Convertible),
    (4, b"n+2\0", "a NIfTI volume", Sort::Convertible),
    (0, b"NRRD000", "an NRRD volume", Sort::Nrrd),
    (0, b"ObjectType =", "a MetaImage volume", Sort::Convertible),
    (0, b"PK\x03\x04", "a ZIP archive", Sort::Archive),
    (0, b"PK\x05\x06", "a ZIP archive without files", Sort::EmptyArchive),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", Sort::Archive),
    (0, b"Rar!", "a RAR archive", Sort::Archive),
    (257, b"ustar", "a TAR archive", Sort::Archive),
    (0, b"\x1f\x8b", GZIP, Sort::Compressed),
    (0, b"BZh", "a bzip2 file", Sort::Compressed),
    (0, b"\xfd7zXZ\0", "an xz file", Sort::Compressed),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file", Sort::Compressed),
    (0, b"\x80\x02", "a Python pickle", Sort::Data),
    (0, b"\x80\x03", "a Python pickle", Sort::Data),
    (0, b"\x80\x04", "a Python pickle", Sort::Data),
    (0, b"\x80\x05", "a Python pickle", Sort::Data),
    (0, b"SQLite format 3\0", "an SQLite database", Sort::Data),
    (0, b"PAR1", "a Parquet table", Sort::Data),
    (0, b"\xd0\xcf\x11\xe0", "an old Office file, such as a spreadsheet", Sort::Office),
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer instead of the file",
        Sort::Pointer("git lfs pull"),
    ),
    (
        0,
        b"/annex/objects/",
        "a git-annex pointer instead of the file",
        Sort::Pointer("git annex get"),
    ),
];

impl FileKind {
    /// The kind of a file that begins with `bytes`; `None` if no signature fits.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let fits = |(offset, magic, ..): &&(usize, &[u8], _, _)| {
            bytes.get(*offset..).is_some_and(|rest| rest.starts_with(magic))
        };
        SIGNATURES.iter().find(fits).map(|&(.., is, sort)| Self { is, sort })
    }

    /// Whether it is compressed with gzip, which every system can unpack.
    #[must_use]
    pub fn is_gzip(self) -> bool {
        self.is == GZIP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_is_found_by_itself() {
        for &(offset, magic, is, sort) in SIGNATURES {
            let mut bytes = vec![b'~'; offset];
            bytes.extend(magic);
            assert_eq!(FileKind::of(&bytes), Some(FileKind { is, sort }), "{is}");
            assert_eq!(FileKind::of(&bytes[..bytes.len() - 1]).filter(|kind| kind.is == is), None);
        }
        for other in
            [&b""[..], b"{\"images\": []}", b"image,label", b"\x89PNG\r\n\x1a\n", b"\x80abc"]
        {
            assert_eq!(FileKind::of(other), None);
        }
    }
}
