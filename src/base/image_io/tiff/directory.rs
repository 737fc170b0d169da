//! The tags of a TIFF, read without decoding: what the file is can then be said in words, and its pages
//! are counted even if none can be decoded.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, ensure};

/// Tags of the format, by their names there.
pub(super) mod tag {
    pub(in super::super) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(in super::super) const BITS_PER_SAMPLE: u16 = 258;
    pub(in super::super) const COMPRESSION: u16 = 259;
    pub(in super::super) const PHOTOMETRIC: u16 = 262;
    pub(in super::super) const ORIENTATION: u16 = 274;
    pub(in super::super) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(in super::super) const COLOR_MAP: u16 = 320;
    pub(in super::super) const EXTRA_SAMPLES: u16 = 338;
    pub(in super::super) const SAMPLE_FORMAT: u16 = 339;
    pub(in super::super) const CHROMA_SUBSAMPLING: u16 = 530;
    pub(in super::super) const REFERENCE_BLACK_WHITE: u16 = 532;
}

/// Most values of one tag that are kept: a colour map of 16 bits has this many.
const MAX_VALUES: u64 = 3 << 16;
/// Most pages that are counted.
const MAX_PAGES: usize = 1 << 16;

/// The whole numbers of the first page, and the number of pages.
#[derive(Debug)]
pub(in super::super) struct Directory {
    values: BTreeMap<u16, Vec<u64>>,
    /// Where the photometric interpretation is stored.
    photometric_at: Option<usize>,
    pub(super) big_endian: bool,
    /// Pages, not counting reduced copies and transparency masks of one.
    pub(in super::super) pages: u32,
}

impl Directory {
    /// Whether `bytes` start like a TIFF or a BigTIFF.
    pub(in super::super) fn is_tiff(bytes: &[u8]) -> bool {
        matches!(bytes.get(..4), Some(b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+"))
    }

    pub(in super::super) fn read(bytes: &[u8]) -> Result<Self> {
        let file = File::new(bytes).context("corrupt: the TIFF ends within its header")?;
        let mut directory = Self {
            values: BTreeMap::new(),
            photometric_at: None,
            big_endian: file.big_endian,
            pages: 0,
        };
        let mut seen = HashSet::new();
        let mut next = file.first();
        while let Some(at) = next.filter(|&at| at != 0) {
            if !seen.insert(at) || seen.len() > MAX_PAGES {
                break;
            }
            let Some((entries, following)) = file.entries(at) else {
                ensure!(seen.len() > 1, "truncated: the TIFF ends within its tags");
                break;
            };
            let subfile = |entry: &Entry| entry.tag == tag::NEW_SUBFILE_TYPE;
            let kind = entries.iter().find(|entry| subfile(entry));
            let kind = kind.and_then(|entry| file.values(entry).first().copied()).unwrap_or(0);
            directory.pages += u32::from(seen.len() == 1 || kind & 0b101 == 0);
            if seen.len() == 1 {
                let photometric = entries.iter().find(|entry| entry.tag == tag::PHOTOMETRIC);
                directory.photometric_at = photometric.map(|entry| entry.value_at);
                directory.values = entries.iter().map(|e| (e.tag, file.values(e))).collect();
            }
            next = following;
        }
        ensure!(directory.pages > 0, "the TIFF has no image");
        Ok(directory)
    }

    pub(super) fn list(&self, tag: u16) -> &[u64] {
        self.values.get(&tag).map_or(&[], Vec::as_slice)
    }

    pub(super) fn first(&self, tag: u16) -> Option<u64> {
        self.list(tag).first().copied()
    }

    /// A copy of the file whose first page claims another photometric interpretation.
    pub(super) fn with_photometric(&self, bytes: &[u8], value: u16) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        let at = self.photometric_at?;
        let value = if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        bytes.get_mut(at..at + 2)?.copy_from_slice(&value);
        Some(bytes)
    }
}

struct File<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    is_big: bool,
}

struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where its values are, or would be if they fit.
    value_at: usize,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = bytes.first()? == &b'M';
        let mut file = Self { bytes, big_endian, is_big: false };
        file.is_big = file.number(2, 2)? == 43;
        Some(file)
    }

    fn first(&self) -> Option<u64> {
        if self.is_big { self.number(8, 8) } else { self.number(4, 4) }
    }

    /// `size` bytes at `at` as a number.
    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(if self.big_endian {
            bytes.iter().fold(0, add)
        } else {
            bytes.iter().rev().fold(0, add)
        })
    }

    /// The entries of the directory at `at`, and where the next one is.
    fn entries(&self, at: u64) -> Option<(Vec<Entry>, Option<u64>)> {
        let at = usize::try_from(at).ok()?;
        let (head, size, word) = if self.is_big { (8, 20, 8) } else { (2, 12, 4) };
        let count = usize::try_from(self.number(at, head)?).ok()?;
        let start = at + head;
        let end = start.checked_add(count.checked_mul(size)?)?;
        if end > self.bytes.len() {
            return None;
        }
        let entry = |index: usize| {
            let at = start + index * size;
            let (tag, kind) = (self.number(at, 2)? as u16, self.number(at + 2, 2)? as u16);
            let count = self.number(at + 4, word)?;
            let inline = at + 4 + word;
            let fits = count.checked_mul(size_of_kind(kind))? <= word as u64;
            let value_at =
                if fits { inline } else { usize::try_from(self.number(inline, word)?).ok()? };
            Some(Entry { tag, kind, count, value_at })
        };
        Some(((0..count).filter_map(entry).collect(), self.number(end, word)))
    }

    /// The values of an entry if they are whole numbers, or ratios, of which fractions are cut off; those
    /// of other types are left out.
    fn values(&self, entry: &Entry) -> Vec<u64> {
        let size = size_of_kind(entry.kind) as usize;
        if !matches!(entry.kind, 1 | 3 | 4 | 5 | 16) || entry.count > MAX_VALUES {
            return Vec::new();
        }
        let at = |index: usize| {
            let at = entry.value_at.checked_add(index * size)?;
            match entry.kind {
                5 => self.number(at, 4)?.checked_div(self.number(at.checked_add(4)?, 4)?),
                _ => self.number(at, size),
            }
        };
        (0..entry.count as usize).map_while(at).collect()
    }
}

/// Bytes of one value of a type.
fn size_of_kind(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}
