//! The bytes of a volume, compressed or not, never more than the file can hold.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// How the bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zlib,
}

/// The highest compression ratio of DEFLATE.
const MAX_RATIO: u64 = 1032;

/// A file from `start` on, decompressed.
pub(super) struct Source {
    reader: Box<dyn Read>,
    /// The most bytes it can yield; exact for plain files.
    most: u64,
    packing: Packing,
}

impl Source {
    pub(super) fn open(path: &Path, start: u64, packing: Packing) -> Result<Self> {
        let mut file = File::open(path).context("cannot be opened")?;
        let len = file.metadata().context("cannot be read")?.len();
        ensure!(start <= len, "it has {len} bytes, but its data should start at byte {start}");
        file.seek(SeekFrom::Start(start)).context("cannot be read")?;
        let file = BufReader::with_capacity(1 << 16, file);
        let (reader, ratio): (Box<dyn Read>, _) = match packing {
            Packing::Plain => (Box::new(file), 1),
            Packing::Gzip => (Box::new(MultiGzDecoder::new(file)), MAX_RATIO),
            Packing::Zlib => (Box::new(ZlibDecoder::new(file)), MAX_RATIO),
        };
        Ok(Self { reader, most: (len - start).saturating_mul(ratio), packing })
    }

    /// Opens a file as gzip if its first bytes say so, else as plain.
    pub(super) fn sniff(path: &Path) -> Result<Self> {
        let mut magic = [0; 2];
        let mut file = File::open(path).context("cannot be opened")?;
        let gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
        Self::open(path, 0, if gzip { Packing::Gzip } else { Packing::Plain })
    }

    /// Fills `bytes`.
    pub(super) fn exact(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.reader.read_exact(bytes).context("it is truncated or damaged within its header")?;
        self.consumed(bytes.len() as u64);
        Ok(())
    }

    /// Skips `len` bytes.
    pub(super) fn skip(&mut self, len: u64) -> Result<()> {
        let passed = std::io::copy(&mut (&mut self.reader).take(len), &mut std::io::sink())
            .context("it is damaged before its data")?;
        ensure!(passed == len, "it ends before its data");
        self.consumed(len);
        Ok(())
    }

    fn consumed(&mut self, len: u64) {
        if self.packing == Packing::Plain {
            self.most = self.most.saturating_sub(len);
        }
    }

    /// The next `len` bytes; if the data end there, also verifies the checksum that follows them in a
    /// compressed file.
    pub(super) fn data(mut self, len: u64, claim: &str) -> Result<Vec<u8>> {
        ensure!(
            len <= self.most,
            "its header claims {claim}, which is {len} bytes of data; the file has at most {}",
            self.most
        );
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(usize::try_from(len)?)
            .with_context(|| format!("not enough memory for {len} bytes"))?;
        let read = (&mut self.reader)
            .take(len)
            .read_to_end(&mut bytes)
            .with_context(|| format!("its data are damaged after {} bytes", bytes.len()))?;
        ensure!(
            read as u64 == len,
            "its header claims {claim}, which is {len} bytes of data; the file has {read}"
        );
        if self.packing != Packing::Plain {
            self.reader.read(&mut [0]).context("its data are damaged")?;
        }
        Ok(bytes)
    }
}
