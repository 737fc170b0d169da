//! Where the pixels of each frame are in a file (PS3.5, annex A.4).

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    guard::{Element, ITEM, SEQUENCE_END, Walk, name},
    syntax::{Coding, Syntax},
};

/// Fragments beyond which a file is refused: a day of video has 2.6 million frames.
const MAX_FRAGMENTS: usize = 4_000_000;

/// Pixel data as a file stores them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PixelData {
    /// Frames without a gap; `words` if bytes were written as 16-bit words.
    Native { start: u64, len: u64, words: bool },
    /// Coded frames, each in one fragment or more.
    Encapsulated { offsets: Vec<u64>, fragments: Vec<Fragment> },
    /// Floating-point numbers: no image of grey levels.
    Float,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    start: u64,
    len: u32,
}

/// Finds the pixels after the head of their element.
pub(super) fn locate(walk: &mut Walk, element: Element, syntax: Syntax) -> Result<PixelData> {
    if element.tag.1 != 0x0010 {
        return Ok(PixelData::Float);
    }
    match element.len {
        Some(_) if syntax.is_encapsulated() => bail!(
            "its transfer syntax says that its pixels are compressed, but they are stored as if they were \
             not (PixelData (7FE0,0010) at byte {} has a length); convert it with the program that wrote it",
            element.at
        ),
        None if !syntax.is_encapsulated() => bail!(
            "its transfer syntax says that its pixels are not compressed, but they are stored in fragments \
             (PixelData (7FE0,0010) at byte {}); convert it with the program that wrote it",
            element.at
        ),
        Some(len) => {
            let left = walk.end - walk.at;
            ensure!(
                len <= left,
                "it is cut off: PixelData (7FE0,0010) claims {len} bytes, {left} are left; copy it again"
            );
            Ok(PixelData::Native { start: walk.at, len, words: element.vr == Some(*b"OW") })
        }
        None => fragments(walk),
    }
}

fn fragments(walk: &mut Walk) -> Result<PixelData> {
    let table = walk.element()?;
    let (ITEM, Some(len)) = (table.tag, table.len) else {
        bail!("{} is where the table of offsets of its frames should be", name(table.tag));
    };
    // A table may have 4 bytes per frame.
    ensure!(
        len <= 4 * MAX_FRAGMENTS as u64,
        "the table of offsets of its frames has {len} bytes, more than {MAX_FRAGMENTS} frames need"
    );
    let offsets = walk.bytes(len)?;
    let offsets = offsets.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let offsets = offsets.map(u64::from).collect();
    let mut fragments = Vec::new();
    // Some writers end the file where the delimiter should be.
    while walk.at < walk.end {
        let item = walk.element()?;
        if item.tag == SEQUENCE_END {
            break;
        }
        let (ITEM, Some(len)) = (item.tag, item.len) else {
            bail!(
                "{} at byte {} is where fragment {} of its pixels should be; copy the file again",
                name(item.tag),
                item.at,
                fragments.len()
            );
        };
        ensure!(
            fragments.len() < MAX_FRAGMENTS,
            "its pixels are in more than {MAX_FRAGMENTS} fragments"
        );
        fragments.push(Fragment { start: walk.at, len: u32::try_from(len)? });
        walk.skip(len)?;
    }
    Ok(PixelData::Encapsulated { offsets, fragments })
}

/// The stored bytes of frames, on disk or inflated.
#[derive(Debug)]
pub(super) enum Store {
    File(std::path::PathBuf),
    Memory(Vec<u8>),
}

impl Store {
    pub(super) fn new(path: &Path, inflated: Option<Vec<u8>>) -> Self {
        inflated.map_or_else(|| Self::File(path.to_owned()), Self::Memory)
    }

    /// Opens it for several reads.
    fn open(&self) -> Result<Opened<'_>> {
        Ok(match self {
            Self::File(path) => Opened::File(File::open(path).context("cannot be opened")?),
            Self::Memory(bytes) => Opened::Memory(bytes),
        })
    }
}

enum Opened<'a> {
    File(File),
    Memory(&'a [u8]),
}

impl Opened<'_> {
    /// Appends the `len` bytes at `start`.
    fn append(&mut self, start: u64, len: u64, to: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::File(file) => {
                file.seek(SeekFrom::Start(start)).context("cannot be read")?;
                let read = file.take(len).read_to_end(to).context("cannot be read")?;
                ensure!(read as u64 == len, "the file was shortened while it was read");
            }
            Self::Memory(bytes) => {
                let range = usize::try_from(start)?..usize::try_from(start + len)?;
                to.extend(bytes.get(range).context("the data end before it")?);
            }
        }
        Ok(())
    }
}

/// Where each frame is.
#[derive(Debug)]
pub(super) enum Frames {
    /// Frames of `bits` each. If `swapped`, the two bytes of each word changed places: 8-bit samples that
    /// were written as big-endian words.
    Native {
        start: u64,
        bits: u64,
        swapped: bool,
    },
    Coded {
        fragments: Vec<Fragment>,
        frames: Vec<Range<usize>>,
    },
}

impl Frames {
    /// Divides native pixels into `count` frames of `bits` each.
    pub(super) fn native(
        (start, len): (u64, u64),
        count: usize,
        bits: u64,
        swapped: bool,
    ) -> Result<Self> {
        let needed = bits.checked_mul(count as u64).map(|bits| bits.div_ceil(8));
        match needed {
            Some(needed) if needed <= len => Ok(Self::Native { start, bits, swapped }),
            _ => {
                let whole = (len * 8).checked_div(bits).unwrap_or(0);
                bail!(
                    "its header claims {count} {} of {} bytes (NumberOfFrames (0028,0008), Rows, Columns, \
                     BitsAllocated), but its pixel data has {len} bytes, enough for {whole}; copy it again, or \
                     correct NumberOfFrames with `dcmodify -m NumberOfFrames={whole} FILE`",
                    if count == 1 { "frame" } else { "frames" },
                    bits.div_ceil(8)
                )
            }
        }
    }

    /// Assigns fragments to `count` frames: one each, by a table of offsets, or by where coded images begin.
    pub(super) fn coded(
        (mut offsets, fragments): (Vec<u64>, Vec<Fragment>),
        extended: Option<Vec<u64>>,
        count: usize,
        (store, coding): (&Store, Coding),
    ) -> Result<Self> {
        let disagree = |found: usize, what: &str| {
            format!(
                "NumberOfFrames (0028,0008) says {count}, but its pixel data has {found} {what}; copy it \
                 again, or correct it with `dcmodify -m NumberOfFrames={found} FILE`"
            )
        };
        ensure!(
            fragments.len() >= count,
            disagree(fragments.len(), "fragments, at least one per frame")
        );
        if fragments.len() == count {
            let frames = (0..count).map(|i| i..i + 1).collect();
            return Ok(Self::Coded { fragments, frames });
        }
        if let Some(extended) = extended.filter(|table| table.len() == count) {
            offsets = extended;
        }
        let starts = if count > 1 && offsets.len() == count {
            by_offsets(&offsets, &fragments)?
        } else {
            let starts = by_content(&fragments, store, coding)?;
            // Codings whose streams have no mark are taken as one frame.
            if starts.is_empty() && count == 1 { vec![0] } else { starts }
        };
        ensure!(starts.len() == count, disagree(starts.len(), "frames"));
        let ends = starts.iter().skip(1).copied().chain([fragments.len()]);
        let frames = starts.iter().zip(ends).map(|(&start, end)| start..end).collect();
        Ok(Self::Coded { fragments, frames })
    }

    /// The stored bytes of a frame, of at most `most` bytes, and for native frames the bit at which it
    /// begins in the first byte.
    pub(super) fn read(&self, store: &Store, index: usize, most: u64) -> Result<(Vec<u8>, u64)> {
        let mut bytes = Vec::new();
        let mut opened = store.open()?;
        match self {
            Self::Native { start, bits, swapped } => {
                let first = bits * index as u64;
                let (mut begin, mut end) = (first / 8, (first + bits).div_ceil(8));
                if *swapped {
                    (begin, end) = (begin & !1, end.next_multiple_of(2));
                }
                opened.append(start + begin, end - begin, &mut bytes)?;
                if *swapped {
                    bytes.chunks_exact_mut(2).for_each(|word| word.swap(0, 1));
                }
                Ok((bytes, first - 8 * begin))
            }
            Self::Coded { fragments, frames } => {
                let parts = frames.get(index).and_then(|range| fragments.get(range.clone()));
                let parts = parts.context("the frame has no fragments")?;
                let len: u64 = parts.iter().map(|part| u64::from(part.len)).sum();
                ensure!(
                    len <= most,
                    "it has {len} bytes compressed, more than an image of its size needs ({most})"
                );
                for part in parts {
                    opened.append(part.start, u64::from(part.len), &mut bytes)?;
                }
                Ok((bytes, 0))
            }
        }
    }
}

/// The first fragment of each frame, by offsets from the first fragment's item.
fn by_offsets(offsets: &[u64], fragments: &[Fragment]) -> Result<Vec<usize>> {
    let base = fragments.first().map_or(0, |first| first.start);
    let mut starts = Vec::with_capacity(offsets.len());
    for (frame, &offset) in offsets.iter().enumerate() {
        let found = fragments.binary_search_by_key(&offset, |fragment| fragment.start - base);
        match found {
            Ok(at) if starts.last().is_none_or(|&last| last < at) => starts.push(at),
            _ => bail!(
                "its table of offsets says that frame {frame} begins {offset} bytes after the first, where no \
                 fragment begins; copy it again"
            ),
        }
    }
    ensure!(starts.first() == Some(&0), "its table of offsets does not begin with the first frame");
    Ok(starts)
}

/// The first fragment of each frame, by the marks at which coded images begin.
fn by_content(fragments: &[Fragment], store: &Store, coding: Coding) -> Result<Vec<usize>> {
    let begins = |head: &[u8]| match coding {
        Coding::Jpeg | Coding::JpegLs => head.starts_with(&[0xFF, 0xD8, 0xFF]),
        Coding::Jpeg2000 => {
            head.starts_with(&[0xFF, 0x4F, 0xFF, 0x51]) || head.starts_with(b"\0\0\0\x0cjP  ")
        }
        _ => false,
    };
    let mut opened = store.open()?;
    let mut starts = Vec::new();
    for (at, fragment) in fragments.iter().enumerate() {
        let mut head = Vec::new();
        opened.append(fragment.start, u64::from(fragment.len.min(8)), &mut head)?;
        if begins(&head) {
            starts.push(at);
        }
    }
    Ok(starts)
}
