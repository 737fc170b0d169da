//! Detects the format of an archive by its content: file names mislead (`.change2zip`).

use std::{io::Read, path::PathBuf};

use anyhow::Result;
use flate2::read::GzDecoder;
use sonotune_base::Error;

use super::{
    source::{Source, numbered, stem},
    split,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Zip,
    Tar,
    TarGz,
    SevenZ,
    Rar,
}

const TAR_HEADER: u64 = 512;

impl Format {
    /// Detects the format; joins the parts of a split zip, which only its end record describes.
    pub(super) fn of(
        source: Source,
        beside: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<(Self, Source)> {
        let head = source.bytes(0, TAR_HEADER)?;
        let begins = |magic: &[u8]| head.starts_with(magic);
        if begins(b"7z\xbc\xaf\x27\x1c") {
            return Ok((Self::SevenZ, source));
        }
        if begins(b"Rar!\x1a\x07") {
            return Ok((Self::Rar, source));
        }
        if begins(b"\x1f\x8b") {
            let mut start = Vec::new();
            let unpacked = GzDecoder::new(source.cursor()).take(TAR_HEADER).read_to_end(&mut start);
            if is_tar(&start) {
                return Ok((Self::TarGz, source));
            }
            return Err(not_a_tar(&source.key, unpacked.err()).into());
        }
        if is_tar(&head) {
            return Ok((Self::Tar, source));
        }
        // The last part of a split zip may begin anywhere in the data: only its end identifies it.
        if let Some(end) = split::End::find(&source)? {
            return Ok((Self::Zip, split::join(source, &end, beside)?));
        }
        Err(unknown(&source, &head).into())
    }
}

/// Whether a block is the header of a tar entry, by its checksum: old tars have no magic.
fn is_tar(block: &[u8]) -> bool {
    if block.len() < 512 || block[0] == 0 {
        return false;
    }
    let field = String::from_utf8_lossy(&block[148..156]);
    let stored = field.trim_matches(|c: char| c == '\0' || c == ' ');
    let blanked = |(i, b): (usize, &u8)| if (148..156).contains(&i) { 32 } else { u32::from(*b) };
    let sum: u32 = block[..512].iter().enumerate().map(blanked).sum();
    u32::from_str_radix(stored, 8) == Ok(sum)
}

fn not_a_tar(key: &str, damaged: Option<std::io::Error>) -> Error {
    Error::data(match damaged {
        Some(e) => format!("{key}: the gzip data is damaged ({e}); download it again"),
        None => format!(
            "{key}: holds one file compressed with gzip, not a tar.gz archive; \
             only archives can be unpacked"
        ),
    })
}

/// Why a file is not a supported archive, as far as its bytes show.
fn unknown(source: &Source, head: &[u8]) -> Error {
    let key = &source.key;
    if head.is_empty() {
        return Error::data(format!("{key}: the file is empty; download it again"));
    }
    if let Some((stem, digits)) = numbered(&source.name)
        && digits.parse() != Ok(1_u32)
    {
        let first = format!("{stem}.{:0width$}", 1, width = digits.len());
        return Error::data(format!("{key}: is a later piece of an archive; pass {first} instead"));
    }
    if head.starts_with(b"PK\x07\x08") || has_part_name(&source.name) {
        let whole = stem(&source.name);
        return Error::data(format!(
            "{key}: is the beginning of a split zip; pass its last part instead, usually {whole}.zip"
        ));
    }
    if head.starts_with(b"PK\x03\x04") {
        let pieces = match source.parts.as_slice() {
            [.., last] if source.parts.len() > 1 => {
                format!(" (read {} pieces, up to {})", source.parts.len(), last.name)
            }
            _ => String::new(),
        };
        return Error::data(format!(
            "{key}: is a zip file whose end is missing{pieces}; download it again, with all its parts"
        ));
    }
    if head.starts_with(b"version https://git-lfs") {
        return Error::data(format!(
            "{key}: is a Git LFS pointer, not the file itself; run `git lfs pull` in the clone"
        ));
    }
    if let Some(command) = other_format(head, &source.name) {
        return Error::data(format!(
            "{key}: archives of this format are not supported; run `{command}` and pass the folder"
        ));
    }
    let web = head.trim_ascii_start().first() == Some(&b'<');
    let guess = if web { " It looks like a web page: the download failed." } else { "" };
    Error::data(format!(
        "{key}: is not a supported archive (zip, tar, tar.gz, 7z, rar), or its end is missing.{guess} \
         Download it again, or unpack it by hand and pass the folder"
    ))
}

/// `x.z01`.
fn has_part_name(name: &str) -> bool {
    let digits = name.rsplit_once('.').and_then(|(_, e)| e.strip_prefix(['z', 'Z']));
    digits.is_some_and(|d| d.len() >= 2 && d.bytes().all(|b| b.is_ascii_digit()))
}

fn other_format(head: &[u8], name: &str) -> Option<String> {
    let packed: [&[u8]; 3] = [b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    packed.iter().any(|magic| head.starts_with(magic)).then(|| format!("tar -xf '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_tar_is_told_by_its_sum() {
        let mut header = tar::Header::new_old();
        header.set_path("a.png").unwrap();
        header.set_size(3);
        header.set_cksum();
        assert!(is_tar(header.as_bytes()));
        let mut changed = header.as_bytes().to_vec();
        changed[0] ^= 1;
        assert!(!is_tar(&changed));
        assert!(!is_tar(&[0; 512]));
    }
}
