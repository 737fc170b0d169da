//! The form before PyTorch 1.6: magic number, protocol version, system information, object and
//! list of storage keys, each a pickle of its own; then every storage as length and bytes.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

use anyhow::{Context, Result, bail, ensure};

use super::{Archive, rebuild::storage_dtypes};
use crate::{
    entry::Span,
    pickle::{Graph, Id, Machine, Node},
};

/// The ten-byte integer 0x1950a86a20f9469cfc6c, as a pickle encodes it.
const MAGIC: [u8; 12] = [0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Whether a file begins with a pickle of the magic number: the protocol, from 4 on a frame, then
/// the number.
pub(super) fn is(head: &[u8]) -> bool {
    match head {
        [0x80, _, 0x95, _, _, _, _, _, _, _, _, rest @ ..] | [0x80, _, rest @ ..] => {
            rest.starts_with(&MAGIC)
        }
        _ => false,
    }
}

const PROTOCOL_VERSION: i64 = 1001;

pub(super) fn open(file: &File, file_len: u64) -> Result<Archive> {
    let mut pickles = Pickles::new(file, 0)?;
    pickles.next().context("in the magic number")?;
    let (graph, root) = pickles.next().context("in the protocol version")?;
    let version = graph.int(root);
    ensure!(
        version == Some(PROTOCOL_VERSION),
        "its protocol version is {version:?}, expected {PROTOCOL_VERSION}"
    );
    let (graph, root) = pickles.next().context("in the system information")?;
    if let Some(little) = graph.get(root, "little_endian") {
        ensure!(
            matches!(graph.node(little), Node::Bool(true)),
            "its numbers are stored big-endian; only little-endian files are read. Load and save \
             it again with PyTorch on a little-endian machine"
        );
    }
    let (graph, root) = pickles.next().context("in the saved object")?;
    let (key_graph, keys) = pickles.next().context("in the list of storage keys")?;
    let dtypes = storage_dtypes(&graph);
    let mut storages = HashMap::new();
    let mut at = pickles.position;
    for &key in key_graph.items(keys).context("the storage keys are not a list")? {
        let key = key_graph.str(key).context("a storage key is not a string")?;
        let Some(dtype) = dtypes.get(key) else {
            bail!("storage {key} is listed, but the saved object does not name it");
        };
        let mut count = [0; 8];
        file.read_exact_at(&mut count, at)
            .with_context(|| format!("the file is cut off before storage {key}"))?;
        let len = u64::from_le_bytes(count)
            .checked_mul(dtype.size())
            .with_context(|| format!("storage {key} overflows"))?;
        let span =
            Span::checked(at + 8, len, file_len).with_context(|| format!("storage {key}"))?;
        at = span.start + span.len;
        storages.insert(key.to_owned(), span);
    }
    Ok(Archive { graph, root, storages, tensors: HashMap::new(), visits: Cell::default() })
}

/// Consecutive pickles, with the position where the next begins.
pub(super) struct Pickles<'a> {
    reader: BufReader<&'a File>,
    pub(super) position: u64,
}

impl<'a> Pickles<'a> {
    pub(super) fn new(mut file: &'a File, start: u64) -> Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { reader: BufReader::new(file), position: start })
    }

    pub(super) fn next(&mut self) -> Result<(Graph, Id)> {
        let (graph, root, read) = Machine::run(&mut self.reader)?;
        self.position += read;
        Ok((graph, root))
    }

    /// Raw bytes between pickles.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).context("the file is cut off")?;
        self.position += N as u64;
        Ok(bytes)
    }

    /// Skips the bytes of a storage.
    pub(super) fn skip(&mut self, len: u64) -> Result<()> {
        self.reader.seek_relative(i64::try_from(len)?)?;
        self.position += len;
        Ok(())
    }
}
