//! Walks through the elements of a data set before anything else reads it.
//!
//! Every length is checked against the file, nesting and numbers are limited, and only the elements that
//! are wanted here are copied; `dicom-object`, which recurses as deep as a file nests, gets no others.

use std::io::{Read, SeekFrom};

use anyhow::{Context, Result, bail, ensure};

use super::{
    pixel_data::{PixelData, locate},
    source::ReadSeek,
    syntax::{Encoding, Syntax},
    wanted::{self, Wanted},
};

/// Nesting of sequences beyond which a file is refused. Real ones nest up to a dozen deep.
const MAX_DEPTH: usize = 64;

/// Elements and items beyond which a file is refused.
const MAX_ELEMENTS: u64 = 4_000_000;

/// The tags of items and delimiters.
pub(super) const ITEM: (u16, u16) = (0xFFFE, 0xE000);
const ITEM_END: (u16, u16) = (0xFFFE, 0xE00D);
pub(super) const SEQUENCE_END: (u16, u16) = (0xFFFE, 0xE0DD);

/// What a walk found.
#[derive(Debug)]
pub(super) struct Outline {
    /// The wanted elements as a data set with explicit value representations, in the byte order of the
    /// file.
    pub(super) elements: Vec<u8>,
    pub(super) pixels: Option<PixelData>,
    /// Where the items of a DICOMDIR's records begin.
    pub(super) records: Vec<u64>,
}

/// The head of an element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    pub(super) tag: (u16, u16),
    /// `None` if the encoding does not name it.
    pub(super) vr: Option<[u8; 2]>,
    /// `None` if it is undefined: a delimiter ends the value.
    pub(super) len: Option<u64>,
    /// Where it begins.
    pub(super) at: u64,
}

/// A reader that knows where it is and where the data end.
pub(super) struct Walk<'a> {
    reader: &'a mut dyn ReadSeek,
    pub(super) at: u64,
    pub(super) end: u64,
    encoding: Encoding,
    count: u64,
    /// Most bytes that are copied.
    budget: u64,
    copied: Vec<u8>,
    records: Vec<u64>,
}

/// Walks through a data set up to its pixels; `budget` limits the bytes of wanted elements.
pub(super) fn outline(
    source: (&mut dyn ReadSeek, u64, u64),
    syntax: Syntax,
    budget: u64,
) -> Result<Outline> {
    let (reader, at, end) = source;
    reader.seek(SeekFrom::Start(at)).context("cannot be read")?;
    let encoding = syntax.encoding;
    let (copied, records) = (Vec::new(), Vec::new());
    let mut walk = Walk { reader, at, end, encoding, count: 0, budget, copied, records };
    let mut pixels = None;
    while walk.at < walk.end {
        // Zeros may follow the last element.
        if walk.end - walk.at < 8 {
            let (at, rest) = (walk.at, walk.bytes(walk.end - walk.at)?);
            ensure!(
                rest.iter().all(|&byte| byte == 0),
                "it is cut off: an element begins at byte {at}, the data end at byte {end}; copy it again"
            );
            break;
        }
        let element = walk.element()?;
        if wanted::is_pixels(element.tag) {
            pixels = Some(locate(&mut walk, element, syntax)?);
            break;
        }
        if element.tag.0 > 0x7FE0 || element.tag.0 == 0 {
            break;
        }
        walk.value(element, wanted::top(element.tag))?;
    }
    Ok(Outline { elements: walk.copied, pixels, records: walk.records })
}

impl Walk<'_> {
    pub(super) fn read<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        ensure!(
            self.end - self.at >= N as u64,
            "it is cut off: an element begins at byte {}, the data end at byte {}",
            self.at,
            self.end
        );
        self.reader.read_exact(&mut bytes).context("cannot be read")?;
        self.at += N as u64;
        Ok(bytes)
    }

    pub(super) fn bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        ensure!(len <= self.end - self.at, "it is cut off at byte {}", self.end);
        let mut bytes = Vec::new();
        (&mut self.reader).take(len).read_to_end(&mut bytes).context("cannot be read")?;
        ensure!(bytes.len() as u64 == len, "it ended at byte {} while it was read", self.at);
        self.at += len;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, len: u64) -> Result<()> {
        ensure!(len <= self.end - self.at, "it is cut off at byte {}", self.end);
        let step = i64::try_from(len).context("a length beyond any file")?;
        self.reader.seek_relative(step).context("cannot be read")?;
        self.at += len;
        Ok(())
    }

    /// The head of the next element, its length checked against the end of the data.
    pub(super) fn element(&mut self) -> Result<Element> {
        self.count += 1;
        ensure!(
            self.count <= MAX_ELEMENTS,
            "it has more than {MAX_ELEMENTS} elements, which no image needs"
        );
        let at = self.at;
        let encoding = self.encoding;
        let [a, b, c, d] = self.read()?;
        let tag = (encoding.u16([a, b]), encoding.u16([c, d]));
        let (vr, len) = if !encoding.explicit || tag.0 == 0xFFFE {
            (None, encoding.u32(self.read()?))
        } else {
            let [v, r, g, h] = self.read()?;
            if has_short_length([v, r]) {
                (Some([v, r]), u32::from(encoding.u16([g, h])))
            } else {
                (Some([v, r]), encoding.u32(self.read()?))
            }
        };
        let len = (len != u32::MAX).then_some(u64::from(len));
        let element = Element { tag, vr, len, at };
        let left = self.end - self.at;
        // Pixels have a message of their own.
        if let Some(len) = len.filter(|&len| len > left && !wanted::is_pixels(tag)) {
            bail!(
                "it is cut off or damaged: {} at byte {at} claims {len} bytes, {left} are left; copy it again",
                name(tag)
            );
        }
        Ok(element)
    }

    /// Copies a value if it is wanted, else skips it.
    fn value(&mut self, element: Element, wanted: Option<Wanted>) -> Result<()> {
        match (wanted, element.vr, element.len) {
            (Some(Wanted::Sequence(inner)), vr, _) if vr.is_none_or(|vr| &vr == b"SQ") => {
                self.sequence(element, inner)
            }
            (Some(Wanted::Value(vr)), stored, Some(len)) if stored != Some(*b"SQ") => {
                // Tools that did not know a tag wrote it as unknown.
                let vr = stored.filter(|stored| stored != b"UN").unwrap_or(*vr);
                let mut value = self.claim(len).and_then(|()| self.bytes(len))?;
                if element.tag == wanted::CHARACTER_SET {
                    value = character_set(value);
                }
                self.emit(element.tag, vr, &value);
                Ok(())
            }
            (_, _, Some(len)) => self.skip(len),
            (_, vr, None) => self.skip_undefined(vr, 0),
        }
    }

    fn claim(&mut self, len: u64) -> Result<()> {
        let after = (self.copied.len() as u64).saturating_add(len);
        ensure!(
            after <= self.budget,
            "the elements that describe its image have more than {} bytes, which no image needs",
            self.budget
        );
        Ok(())
    }

    fn emit_number(&mut self, number: u32) {
        let bytes =
            if self.encoding.big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        self.copied.extend(bytes);
    }

    fn emit_short(&mut self, number: u16) {
        let bytes =
            if self.encoding.big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        self.copied.extend(bytes);
    }

    fn emit_tag(&mut self, tag: (u16, u16)) {
        self.emit_short(tag.0);
        self.emit_short(tag.1);
    }

    fn emit(&mut self, tag: (u16, u16), vr: [u8; 2], value: &[u8]) {
        self.emit_tag(tag);
        self.copied.extend(vr);
        match u16::try_from(value.len()) {
            Ok(len) if has_short_length(vr) => self.emit_short(len),
            // An implicit value that is too long for its representation.
            _ if has_short_length(vr) => {
                self.emit_short(0);
                return;
            }
            _ => {
                self.emit_short(0);
                self.emit_number(value.len() as u32);
            }
        }
        self.copied.extend(value);
    }

    /// Copies the wanted elements of a sequence's items.
    fn sequence(&mut self, element: Element, inner: wanted::Table) -> Result<()> {
        self.emit_tag(element.tag);
        self.copied.extend(b"SQ\0\0");
        self.emit_number(u32::MAX);
        let end = element.len.map(|len| self.at + len);
        while end.is_none_or(|end| self.at < end) {
            let item = self.element()?;
            if item.tag == SEQUENCE_END && end.is_none() {
                break;
            }
            ensure!(item.tag == ITEM, "{} is where an item should be", name(item.tag));
            self.claim(16)?;
            if element.tag == wanted::RECORDS {
                self.records.push(item.at);
            }
            self.emit_tag(ITEM);
            self.emit_number(u32::MAX);
            let item_end = item.len.map(|len| self.at + len);
            while item_end.is_none_or(|end| self.at < end) {
                let element = self.element()?;
                if element.tag == ITEM_END && item_end.is_none() {
                    break;
                }
                self.value(element, inner.find(element.tag))?;
            }
            self.emit_tag(ITEM_END);
            self.emit_number(0);
        }
        self.emit_tag(SEQUENCE_END);
        self.emit_number(0);
        Ok(())
    }

    /// Skips the items of a value of undefined length.
    fn skip_undefined(&mut self, vr: Option<[u8; 2]>, depth: usize) -> Result<()> {
        ensure!(
            depth < MAX_DEPTH,
            "its sequences nest more than {MAX_DEPTH} deep at byte {}, which no image needs",
            self.at
        );
        let outer = self.encoding;
        // Unknown values of undefined length are sequences in implicit encoding (PS3.5, 6.2.2).
        if vr == Some(*b"UN") {
            self.encoding = Encoding::IMPLICIT_LITTLE;
        }
        loop {
            let item = self.element()?;
            if item.tag == SEQUENCE_END {
                break;
            }
            ensure!(item.tag == ITEM, "{} is where an item should be", name(item.tag));
            match item.len {
                Some(len) => self.skip(len)?,
                None => self.skip_item(depth)?,
            }
        }
        self.encoding = outer;
        Ok(())
    }

    fn skip_item(&mut self, depth: usize) -> Result<()> {
        loop {
            let element = self.element()?;
            match element.len {
                _ if element.tag == ITEM_END => return Ok(()),
                Some(len) => self.skip(len)?,
                None => self.skip_undefined(element.vr, depth + 1)?,
            }
        }
    }
}

/// The one character set to decode with. `dicom-object` takes the first of several; Japanese and Korean are
/// the second, after an empty one, and their decoders also read the first.
fn character_set(value: Vec<u8>) -> Vec<u8> {
    let eastern = [&b"ISO 2022 IR 87"[..], b"ISO 2022 IR 149"];
    let found = value.split(|&byte| byte == b'\\').map(<[u8]>::trim_ascii);
    found.skip(1).find(|name| eastern.contains(name)).map_or(value.clone(), <[u8]>::to_vec)
}

/// Value representations whose length has 2 bytes (PS3.5, 7.1.2).
fn has_short_length(vr: [u8; 2]) -> bool {
    const SHORT: [&[u8; 2]; 21] = [
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
        b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    ];
    SHORT.contains(&&vr)
}

/// A tag as the standard prints it.
pub(super) fn name(tag: (u16, u16)) -> String {
    format!("the element ({:04X},{:04X})", tag.0, tag.1)
}
