//! The bytes of a DICOM file from its data set on, and how they are encoded.

use std::{
    fs::File,
    io::{BufReader, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::DeflateDecoder;

use super::syntax::{Coding, Encoding, Syntax};

/// Most bytes that a deflated data set may inflate to.
const MAX_INFLATED_BYTES: u64 = 256 << 20;

/// Most bytes of the file meta information; real ones have some hundreds.
const MAX_META_BYTES: u64 = 1 << 20;

const PREAMBLE: usize = 128;

pub(super) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// An open file, positioned at its data set.
pub(super) struct Source {
    pub(super) reader: Box<dyn ReadSeek>,
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) syntax: Syntax,
    /// What a deflated data set inflates to; positions are then within it.
    pub(super) inflated: Option<Vec<u8>>,
    /// MediaStorageSOPClassUID, if there is file meta information.
    pub(super) sop_class: Option<String>,
}

/// Whether a file that begins with `head` (132 bytes or more are best) is DICOM: by its preamble, or by
/// a first element of the file meta information or of group 8, as devices wrote it before 1996.
#[must_use]
pub fn is_dicom(head: &[u8]) -> bool {
    head.get(PREAMBLE..PREAMBLE + 4) == Some(b"DICM") || bare(head).is_some()
}

/// Where a file without preamble begins: with meta information, or with a data set of this encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bare {
    Meta,
    DataSet(Encoding),
}

fn bare(head: &[u8]) -> Option<Bare> {
    let &[a, b, c, d, e, f, g, h] = head.get(..8)?.first_chunk::<8>()?;
    let explicit = e.is_ascii_uppercase() && f.is_ascii_uppercase();
    // The first element of a group is short: a length, a character set, a UID, a date.
    let short = |len: u32| (1..=64).contains(&len);
    match (a, b, c, d) {
        (2, 0, 0 | 1 | 2 | 0x10, 0) if explicit => Some(Bare::Meta),
        (8, 0, 0 | 1 | 5 | 8 | 0x12..=0x18, 0) => {
            let implicit = u32::from_le_bytes([e, f, g, h]);
            match explicit {
                true => Some(Bare::DataSet(Encoding::EXPLICIT_LITTLE)),
                false if short(implicit) => Some(Bare::DataSet(Encoding::IMPLICIT_LITTLE)),
                false => None,
            }
        }
        (0, 8, 0, 0 | 1 | 5 | 8 | 0x12..=0x18) if explicit => {
            Some(Bare::DataSet(Encoding::EXPLICIT_BIG))
        }
        _ => None,
    }
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).context("cannot be opened")?;
        let end = file.metadata().context("cannot be read")?.len();
        let mut head = Vec::new();
        (&mut file).take(PREAMBLE as u64 + 4).read_to_end(&mut head).context("cannot be read")?;
        let mut reader = BufReader::new(file);
        let (start, bare) = match head.get(PREAMBLE..) {
            Some(b"DICM") => (PREAMBLE as u64 + 4, Bare::Meta),
            _ => match bare(&head) {
                Some(bare) => (0, bare),
                None => bail!(
                    "it is not a DICOM file: `DICM` is missing at byte 128, and it does not begin with an \
                     element of group 2 or 8"
                ),
            },
        };
        reader.seek(SeekFrom::Start(start)).context("cannot be read")?;
        let meta = match bare {
            Bare::Meta => read_meta(&mut reader, start, end)?,
            Bare::DataSet(encoding) => {
                Meta { syntax: Some(Syntax::uncompressed(encoding)), sop_class: None, end: 0 }
            }
        };
        reader.seek(SeekFrom::Start(meta.end)).context("cannot be read")?;
        let syntax = match meta.syntax {
            // Some writers name one encoding and use another.
            Some(syntax) if syntax.coding != Coding::Deflated => {
                let encoding = first_encoding(&mut reader, meta.end)?.unwrap_or(syntax.encoding);
                Syntax { encoding, ..syntax }
            }
            Some(syntax) => syntax,
            None => match first_encoding(&mut reader, meta.end)? {
                Some(encoding) => Syntax::uncompressed(encoding),
                None => bail!(
                    "its file meta information names no transfer syntax (0002,0010), and its data set does \
                     not begin with group 8; write it again with `dcmconv +F in.dcm out.dcm`"
                ),
            },
        };
        let (at, sop_class) = (meta.end, meta.sop_class);
        if syntax.coding != Coding::Deflated {
            let reader = Box::new(reader);
            return Ok(Self { reader, at, end, syntax, inflated: None, sop_class });
        }
        let bytes = inflate(reader)?;
        let end = bytes.len() as u64;
        let reader = Box::new(Cursor::new(bytes.clone()));
        Ok(Self { reader, at: 0, end, syntax, inflated: Some(bytes), sop_class })
    }
}

/// What the file meta information says.
struct Meta {
    syntax: Option<Syntax>,
    sop_class: Option<String>,
    /// Where the data set begins.
    end: u64,
}

/// Elements of group 2, which are always explicit and little-endian. Its length is not trusted: some
/// writers get it wrong.
fn read_meta(reader: &mut impl Read, start: u64, end: u64) -> Result<Meta> {
    let mut meta = Meta { syntax: None, sop_class: None, end: start };
    loop {
        let mut head = Vec::new();
        reader.take(8).read_to_end(&mut head).context("cannot be read")?;
        let &[2, 0, c, d, v, r, g, h] = head.as_slice() else { return Ok(meta) };
        let (tag, long) = (u16::from_le_bytes([c, d]), matches!(&[v, r], b"OB" | b"UN" | b"OW"));
        let (len, header) = if long {
            let mut bytes = [0; 4];
            reader.read_exact(&mut bytes).context("it ends within its file meta information")?;
            (u64::from(u32::from_le_bytes(bytes)), 12)
        } else {
            (u64::from(u16::from_le_bytes([g, h])), 8)
        };
        let value_end = meta.end + header + len;
        ensure!(
            value_end <= end && value_end - start <= MAX_META_BYTES,
            "its file meta information claims {len} bytes for the element (0002,{tag:04X}) at byte {}; the \
             file has {end} bytes",
            meta.end
        );
        let mut value = Vec::new();
        reader.take(len).read_to_end(&mut value).context("cannot be read")?;
        meta.end = value_end;
        match tag {
            0x0002 => meta.sop_class = Some(uid(&value)),
            0x0010 => meta.syntax = Some(Syntax::of_uid(&uid(&value))?),
            _ => {}
        }
    }
}

fn uid(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_matches(['\0', ' ']).to_owned()
}

/// The encoding of a data set by its first element, if that shows it.
fn first_encoding(reader: &mut (impl Read + Seek), at: u64) -> Result<Option<Encoding>> {
    let mut head = Vec::new();
    reader.by_ref().take(8).read_to_end(&mut head).context("cannot be read")?;
    reader.seek(SeekFrom::Start(at)).context("cannot be read")?;
    Ok(match bare(&head) {
        Some(Bare::DataSet(encoding)) => Some(encoding),
        _ => None,
    })
}

fn inflate(reader: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    DeflateDecoder::new(reader)
        .take(MAX_INFLATED_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("its deflated data set is damaged after {} bytes", bytes.len()))?;
    ensure!(
        bytes.len() as u64 <= MAX_INFLATED_BYTES,
        "its deflated data set has more than {MAX_INFLATED_BYTES} bytes once inflated, which is not held in \
         memory; write it without deflation: `dcmconv +te in.dcm out.dcm`"
    );
    Ok(bytes)
}
