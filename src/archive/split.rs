//! Split zips: `x.z01`, `x.z02`, …, `x.zip`. A position is a part's number and an offset in
//! that part. The parts are read as one run of bytes, with a rewritten directory whose offsets count
//! from the beginning of the run, so that any reader of plain zips can read it.
//!
//! Layout of all records: PKWARE, *.ZIP File Format Specification* (APPNOTE), 4.3.

use std::path::PathBuf;

use anyhow::Result;
use sonotune_base::Error;

use super::source::{Part, Source, stem};

const END: &[u8] = b"PK\x05\x06";
const END_LEN: u64 = 22;
const END64: &[u8] = b"PK\x06\x06";
const END64_LEN: u64 = 56;
const LOCATOR64: &[u8] = b"PK\x06\x07";
const LOCATOR64_LEN: u64 = 20;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LEN: usize = 46;
/// Tag of the extra field with the 64-bit numbers.
const EXTRA64: u16 = 1;
const FULL_16: u16 = u16::MAX;
const FULL_32: u32 = u32::MAX;

/// The record at the end of a zip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// Offset of its first byte.
    at: u64,
    /// Number of this part, from 0: the number of parts before it.
    disk: u32,
    directory_disk: u32,
    entries: u64,
    directory_len: u64,
    directory_offset: u64,
    /// Part and offset of the 64-bit record, if there is one.
    end64: Option<(u32, u64)>,
}

impl End {
    /// The last end record, `None` when there is none.
    pub(super) fn find(source: &Source) -> Result<Option<Self>> {
        let longest = END_LEN + u64::from(u16::MAX);
        let from = source.len().saturating_sub(longest);
        let tail = source.bytes(from, longest)?;
        for at in (0..tail.len().saturating_sub(21)).rev() {
            let record = &tail[at..];
            if !record.starts_with(END) || 22 + usize::from(u16_at(record, 20)) > record.len() {
                continue;
            }
            let mut end = Self {
                at: from + at as u64,
                disk: u16_at(record, 4).into(),
                directory_disk: u16_at(record, 6).into(),
                entries: u16_at(record, 10).into(),
                directory_len: u32_at(record, 12).into(),
                directory_offset: u32_at(record, 16).into(),
                end64: None,
            };
            if let Some(locator) = end.at.checked_sub(LOCATOR64_LEN) {
                let locator = source.bytes(locator, LOCATOR64_LEN)?;
                if locator.starts_with(LOCATOR64) {
                    end.end64 = Some((u32_at(&locator, 4), u64_at(&locator, 8)));
                    if end.disk == u32::from(FULL_16) {
                        end.disk = u32_at(&locator, 16).saturating_sub(1);
                    }
                }
            }
            return Ok(Some(end));
        }
        Ok(None)
    }

    /// Takes from the 64-bit record the numbers that did not fit. `starts`: offsets of the parts.
    fn widen(&mut self, source: &Source, starts: &[u64]) -> Result<()> {
        let Some((disk, offset)) = self.end64 else { return Ok(()) };
        let at = place(starts, disk, offset).ok_or_else(|| damaged(source))?;
        let record = source.bytes(at, END64_LEN)?;
        if record.len() < 56 || !record.starts_with(END64) {
            return Err(damaged(source).into());
        }
        self.directory_disk = u32_at(&record, 20);
        self.entries = u64_at(&record, 32);
        self.directory_len = u64_at(&record, 40);
        self.directory_offset = u64_at(&record, 48);
        Ok(())
    }
}

/// Joins a split zip with the parts beside it; returns any other zip unchanged.
pub(super) fn join(
    source: Source,
    end: &End,
    beside: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<Source> {
    if end.disk == 0 {
        return Ok(source);
    }
    let joined = Source::of_parts(&source.key, find_parts(&source, end.disk, beside)?);
    let starts: Vec<u64> = joined
        .parts
        .iter()
        .scan(0, |at, part| {
            *at += part.len;
            Some(*at - part.len)
        })
        .collect();
    let mut end = End { at: end.at + starts[starts.len() - 1], ..end.clone() };
    end.widen(&joined, &starts)?;
    let from = place(&starts, end.directory_disk, end.directory_offset)
        .filter(|from| from.checked_add(end.directory_len).is_some_and(|to| to <= end.at))
        .ok_or_else(|| damaged(&joined))?;
    let directory = joined.bytes(from, end.directory_len)?;
    let mut tail = Vec::with_capacity(directory.len() * 2);
    let mut entries = 0;
    for entry in Entries(&directory) {
        let entry = entry.ok_or_else(|| damaged(&joined))?;
        entry.write(&starts, &mut tail).ok_or_else(|| damaged(&joined))?;
        entries += 1;
    }
    if entries != end.entries {
        return Err(damaged(&joined).into());
    }
    write_end(&mut tail, entries, from);
    Ok(joined.with_tail(from, tail))
}

/// The names in the directory of a zip that is not split, as stored, as far as they can be read.
pub(super) fn names(source: &Source, from: u64) -> Result<Vec<Vec<u8>>> {
    let directory = source.bytes(from, source.len())?;
    Ok(Entries(&directory).map_while(|e| e).map(|e| e.name.to_vec()).collect())
}

fn find_parts(
    source: &Source,
    disk: u32,
    beside: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<Vec<Part>> {
    let stem = stem(&source.name);
    let mut parts = Vec::new();
    let mut missing = Vec::new();
    for number in 1..=disk {
        let found = [format!("{stem}.z{number:02}"), format!("{stem}.Z{number:02}")]
            .into_iter()
            .find_map(|name| beside(&name).map(|path| (name, path)));
        match found {
            Some((name, path)) => parts.push(Part::open(&source.key, &name, &path)?),
            None => missing.push(format!("{stem}.z{number:02}")),
        }
    }
    if let [first, rest @ ..] = missing.as_slice() {
        let more =
            if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        return Err(Error::data(format!(
            "{}: is the last of {} parts of a split zip, and {first}{more} is missing; \
             put all parts into its folder",
            source.key,
            u64::from(disk) + 1,
        ))
        .into());
    }
    parts.extend(source.parts.iter().cloned());
    Ok(parts)
}

fn damaged(source: &Source) -> Error {
    Error::data(format!(
        "{}: the directory of this split zip does not match its {} parts; \
         download all of them again, or unpack it by hand (`7z x '{}'`) and pass the folder",
        source.key,
        source.parts.len(),
        source.name,
    ))
}

/// Offset in the run for an offset in a part.
fn place(starts: &[u64], disk: u32, offset: u64) -> Option<u64> {
    starts.get(usize::try_from(disk).ok()?)?.checked_add(offset)
}

/// Records of a directory; `None` for one that is cut off.
struct Entries<'a>(&'a [u8]);

struct Entry<'a> {
    fixed: &'a [u8],
    name: &'a [u8],
    extra: &'a [u8],
    comment: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Option<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.0.starts_with(ENTRY) {
            let clean = self.0.is_empty();
            self.0 = &[];
            return (!clean).then_some(None);
        }
        let entry = Entry::read(self.0);
        self.0 = entry.as_ref().map_or(&[], |e| &self.0[e.len()..]);
        Some(entry)
    }
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(ENTRY_LEN)?;
        let (name, rest) = rest.split_at_checked(u16_at(fixed, 28).into())?;
        let (extra, rest) = rest.split_at_checked(u16_at(fixed, 30).into())?;
        let (comment, _) = rest.split_at_checked(u16_at(fixed, 32).into())?;
        Some(Self { fixed, name, extra, comment })
    }

    fn len(&self) -> usize {
        ENTRY_LEN + self.name.len() + self.extra.len() + self.comment.len()
    }

    /// Writes it with its position counted from the beginning of the run, all numbers in 64 bits.
    fn write(&self, starts: &[u64], out: &mut Vec<u8>) -> Option<()> {
        let mut packed = u64::from(u32_at(self.fixed, 20));
        let mut size = u64::from(u32_at(self.fixed, 24));
        let mut disk = u32::from(u16_at(self.fixed, 34));
        let mut offset = u64::from(u32_at(self.fixed, 42));
        let mut others = Vec::new();
        let mut extra = self.extra;
        while let Some((head, rest)) = extra.split_at_checked(4) {
            let (mut field, rest) = rest.split_at_checked(u16_at(head, 2).into())?;
            extra = rest;
            if u16_at(head, 0) != EXTRA64 {
                others.extend_from_slice(head);
                others.extend_from_slice(field);
                continue;
            }
            // The field holds only the numbers that are at their maximum above, in this order.
            for number in [&mut size, &mut packed, &mut offset] {
                if *number == u64::from(FULL_32) {
                    let (wide, rest) = field.split_at_checked(8)?;
                    *number = u64_at(wide, 0);
                    field = rest;
                }
            }
            if disk == u32::from(FULL_16) {
                disk = u32_at(field.get(..4)?, 0);
            }
        }
        out.extend_from_slice(&self.fixed[..20]);
        out.extend_from_slice(&[0xff; 8]);
        out.extend_from_slice(&self.fixed[28..30]);
        out.extend_from_slice(&u16::try_from(others.len() + 28).ok()?.to_le_bytes());
        out.extend_from_slice(&self.fixed[32..34]);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.fixed[36..42]);
        out.extend_from_slice(&[0xff; 4]);
        out.extend_from_slice(self.name);
        out.extend_from_slice(&EXTRA64.to_le_bytes());
        out.extend_from_slice(&24_u16.to_le_bytes());
        for number in [size, packed, place(starts, disk, offset)?] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&others);
        out.extend_from_slice(self.comment);
        Some(())
    }
}

/// Appends the end records to `tail`, which holds the directory that begins at `from`.
fn write_end(tail: &mut Vec<u8>, entries: u64, from: u64) {
    let len = tail.len() as u64;
    let version = 45_u16.to_le_bytes();
    tail.extend_from_slice(END64);
    tail.extend_from_slice(&(END64_LEN - 12).to_le_bytes());
    tail.extend_from_slice(&[version, version].concat());
    tail.extend_from_slice(&[0; 8]);
    for number in [entries, entries, len, from] {
        tail.extend_from_slice(&number.to_le_bytes());
    }
    tail.extend_from_slice(LOCATOR64);
    tail.extend_from_slice(&[0; 4]);
    tail.extend_from_slice(&(from + len).to_le_bytes());
    tail.extend_from_slice(&1_u32.to_le_bytes());
    tail.extend_from_slice(END);
    tail.extend_from_slice(&[0; 4]);
    tail.extend_from_slice(&[0xff; 12]);
    tail.extend_from_slice(&[0; 2]);
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
