//! Boxes of ISO/IEC 14496-12, and the numbers in them. Lengths are checked, so nothing here panics.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use anyhow::{Context, Result, bail, ensure};

use super::fourcc;

/// The tables of a clip of an hour take a few MB.
const MAX_MOOV: u64 = 256 << 20;

/// Reads the box `moov`, which has the index of all frames, without its header.
pub(super) fn read_moov(file: &mut File, len: u64) -> Result<Vec<u8>> {
    let Some((start, size)) = find(file, len, b"moov")? else {
        bail!(
            "it has no index (box moov): the recording was not closed properly, or the file is \
             truncated"
        )
    };
    ensure!(size <= MAX_MOOV, "its index claims {size} bytes");
    let mut bytes = vec![0; size as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes).context("it is truncated")?;
    Ok(bytes)
}

/// Whether the file has a box of this kind that is not within another.
pub(super) fn has_box(file: &mut File, len: u64, kind: &[u8; 4]) -> Result<bool> {
    Ok(find(file, len, kind)?.is_some())
}

/// Where the first box of a kind has its content, and how many bytes.
fn find(file: &mut File, len: u64, wanted: &[u8; 4]) -> Result<Option<(u64, u64)>> {
    let mut at = 0;
    while at + 8 <= len {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head[..8]).context("it is truncated")?;
        let mut header = 8;
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => len - at,
            1 => {
                file.read_exact(&mut head[8..]).context("it is truncated")?;
                header = 16;
                let large = &head[8..];
                large.iter().fold(0_u64, |n, &byte| n << 8 | u64::from(byte))
            }
            size => u64::from(size),
        };
        let kind = fourcc(&head[4..8]);
        ensure!(
            size >= header && size <= len - at,
            "it is truncated: the box {kind} at byte {at} claims {size} bytes, {} are left",
            len - at
        );
        if &head[4..8] == wanted {
            return Ok(Some((at + header, size - header)));
        }
        at += size;
    }
    Ok(None)
}

/// The boxes within a box.
#[derive(Clone, Copy)]
pub(super) struct Boxes<'a>(pub(super) &'a [u8]);

impl<'a> Boxes<'a> {
    pub(super) fn all(self, kind: &'static [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            while let Some((head, _)) = rest.split_at_checked(8) {
                let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
                let size = if size == 0 { rest.len() } else { size };
                let found = rest.get(8..size)?;
                rest = &rest[size..];
                if &head[4..8] == kind {
                    return Some(found);
                }
            }
            None
        })
    }

    pub(super) fn first(self, kind: &'static [u8; 4]) -> Option<&'a [u8]> {
        self.all(kind).next()
    }

    pub(super) fn one(self, kind: &'static [u8; 4]) -> Result<&'a [u8]> {
        self.first(kind).with_context(|| format!("its index has no box {}", fourcc(kind)))
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let bytes = bytes.get(at..at + 2).context("a box of its index is too short")?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("a box of its index is too short")?;
    Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from(u32_at(bytes, at)?) << 32 | u64::from(u32_at(bytes, at + 4)?))
}

/// The records of a table whose count is at byte `at`; a count that the box cannot hold is refused.
pub(super) fn records<'a>(
    bytes: &'a [u8],
    at: usize,
    size: usize,
    name: &str,
) -> Result<impl ExactSizeIterator<Item = &'a [u8]> + Clone> {
    let count = u32_at(bytes, at)? as usize;
    let held = &bytes[at + 4..];
    ensure!(
        held.len() / size >= count,
        "its table {name} claims {count} entries, but has room for {}",
        held.len() / size
    );
    Ok(held[..count * size].chunks_exact(size))
}
