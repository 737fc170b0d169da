//! Transfer syntaxes: how a data set and its pixels are encoded.

use anyhow::{Result, bail};

/// How elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Whether each element names its value representation.
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

impl Encoding {
    pub(super) const IMPLICIT_LITTLE: Self = Self { explicit: false, big_endian: false };
    pub(super) const EXPLICIT_LITTLE: Self = Self { explicit: true, big_endian: false };
    pub(super) const EXPLICIT_BIG: Self = Self { explicit: true, big_endian: true };

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// How pixels are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Native,
    /// The whole data set is deflated, its pixels are native within.
    Deflated,
    Rle,
    /// Baseline, extended, lossless: the stream says which.
    Jpeg,
    JpegLs,
    Jpeg2000,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) encoding: Encoding,
    pub(super) coding: Coding,
    /// Whether the syntax is one that loses something.
    pub(super) lossy: bool,
}

impl Syntax {
    pub(super) fn uncompressed(encoding: Encoding) -> Self {
        Self { encoding, coding: Coding::Native, lossy: false }
    }

    pub(super) fn is_encapsulated(self) -> bool {
        !matches!(self.coding, Coding::Native | Coding::Deflated)
    }

    /// The syntax of a TransferSyntaxUID.
    ///
    /// # Errors
    /// One that is not read, by its name if the standard has one, and how to convert it.
    pub(super) fn of_uid(uid: &str) -> Result<Self> {
        const LOSSY: [&str; 6] = [".4.50", ".4.51", ".4.53", ".4.55", ".4.81", ".4.91"];
        let lossy = LOSSY.iter().any(|end| uid.ends_with(end));
        let explicit = |coding| Ok(Self { encoding: Encoding::EXPLICIT_LITTLE, coding, lossy });
        let video = |name| {
            bail!(
                "its pixels are a video in {name} (transfer syntax {uid}), which is not read; take the video \
                 out of it, `{EXTRACT}`, and use that file"
            )
        };
        let Some(suffix) = uid.strip_prefix("1.2.840.10008.1.2") else {
            bail!(
                "its pixels are in the private transfer syntax {uid}, which only software of its \
                 manufacturer may know; {REMEDY}"
            );
        };
        let name = match suffix {
            "" => return Ok(Self::uncompressed(Encoding::IMPLICIT_LITTLE)),
            ".1" | ".1.98" => return explicit(Coding::Native),
            ".1.99" => return explicit(Coding::Deflated),
            ".2" => return Ok(Self::uncompressed(Encoding::EXPLICIT_BIG)),
            ".5" => return explicit(Coding::Rle),
            ".4.50" | ".4.51" | ".4.53" | ".4.55" | ".4.57" | ".4.70" => {
                return explicit(Coding::Jpeg);
            }
            ".4.80" | ".4.81" => return explicit(Coding::JpegLs),
            ".4.90" | ".4.91" => return explicit(Coding::Jpeg2000),
            ".4.92" | ".4.93" => "JPEG 2000 with several components",
            ".4.94" | ".4.95" => "JPIP, whose pixels are on a server",
            ".4.100" | ".4.100.1" | ".4.101" | ".4.101.1" => return video("MPEG-2"),
            ".4.102" | ".4.102.1" | ".4.103" | ".4.103.1" | ".4.104" | ".4.104.1" | ".4.105"
            | ".4.105.1" | ".4.106" | ".4.106.1" => return video("MPEG-4 (H.264)"),
            ".4.107" | ".4.108" => return video("HEVC (H.265)"),
            ".4.110" | ".4.111" | ".4.112" => "JPEG XL",
            ".4.201" | ".4.202" | ".4.203" => "High-Throughput JPEG 2000",
            _ => bail!("its pixels are in the transfer syntax {uid}, which is not read; {REMEDY}"),
        };
        bail!("its pixels are in {name} (transfer syntax {uid}), which is not read; {REMEDY}")
    }
}

/// What a user can do about an encoding of pixels that is not read.
pub(super) const REMEDY: &str = "convert it, for example with `gdcmconv --raw in.dcm out.dcm` or pydicom's `Dataset.decompress`";

/// Writes the stream within a file of a video's transfer syntax.
const EXTRACT: &str = "python -c \"import pydicom; from pydicom.encaps import generate_fragments as parts; \
                       open('out.mp4', 'wb').write(b''.join(parts(pydicom.dcmread('in.dcm').PixelData)))\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_syntax_that_is_not_read_is_named_with_the_command_that_converts_it() {
        let error = |uid: &str| Syntax::of_uid(uid).unwrap_err().to_string();
        let video = error("1.2.840.10008.1.2.4.102");
        assert!(
            video.contains("MPEG-4 (H.264)") && video.contains("generate_fragments"),
            "{video}"
        );
        let private = error("1.2.840.113619.5.2");
        assert!(private.contains("private transfer syntax 1.2.840.113619.5.2"), "{private}");
        assert!(error("1.2.840.10008.1.2.9").contains("1.2.840.10008.1.2.9, which is not read"));
    }

    #[test]
    fn encodings_follow_the_transfer_syntax() {
        let of = |uid| Syntax::of_uid(uid).unwrap();
        assert_eq!(of("1.2.840.10008.1.2").encoding, Encoding::IMPLICIT_LITTLE);
        assert_eq!(of("1.2.840.10008.1.2.2").encoding, Encoding::EXPLICIT_BIG);
        assert!(of("1.2.840.10008.1.2.4.70").is_encapsulated());
        assert!(!of("1.2.840.10008.1.2.1.99").is_encapsulated());
    }
}
