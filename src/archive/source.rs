//! The bytes of an archive, which may be spread over several files.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use sonotune_base::Error;

/// An archive as one contiguous run of bytes, cheap to clone and readable by many threads at once.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Path in the source, for messages.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) parts: Vec<Part>,
    segments: Arc<[Segment]>,
    len: u64,
}

/// One file of an archive, as it was when opened.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) len: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub(super) mtime: i128,
    file: Arc<File>,
}

#[derive(Debug)]
struct Segment {
    /// Offset of its first byte in the run.
    start: u64,
    len: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(Arc<File>),
    Memory(Vec<u8>),
}

impl Part {
    pub(super) fn open(key: &str, name: &str, path: &Path) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let meta = file.metadata()?;
            let mtime = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
            Ok::<_, io::Error>(Self {
                name: name.to_owned(),
                len: meta.len(),
                mtime,
                file: file.into(),
            })
        };
        open()
            .map_err(|e| Error::data(e.to_string()))
            .with_context(|| format!("{key}: cannot read {}", path.display()))
    }
}

impl Source {
    /// Opens the archive at `path`; for `x.001` also the following pieces.
    pub(super) fn open(
        key: &str,
        path: &Path,
        beside: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self> {
        let name = key.rsplit('/').next().unwrap_or(key).to_owned();
        let mut parts = vec![Part::open(key, &name, path)?];
        if let Some((stem, digits)) = numbered(&name)
            && digits.parse() == Ok(1_u32)
        {
            for number in 2_u32.. {
                let next = format!("{stem}.{number:0width$}", width = digits.len());
                let Some(path) = beside(&next) else { break };
                parts.push(Part::open(key, &next, &path)?);
            }
        }
        Ok(Self::of_parts(key, parts))
    }

    /// The run of all parts.
    pub(super) fn of_parts(key: &str, parts: Vec<Part>) -> Self {
        let bytes = parts.iter().map(|part| (part.len, Bytes::File(part.file.clone()))).collect();
        Self::new(key, parts, bytes)
    }

    /// The same archive with everything from `at` on replaced by `tail`.
    pub(super) fn with_tail(&self, at: u64, tail: Vec<u8>) -> Self {
        let mut left = at;
        let mut bytes = Vec::new();
        for part in &self.parts {
            let len = part.len.min(left);
            left -= len;
            bytes.push((len, Bytes::File(part.file.clone())));
        }
        bytes.push((tail.len() as u64, Bytes::Memory(tail)));
        Self::new(&self.key, self.parts.clone(), bytes)
    }

    fn new(key: &str, parts: Vec<Part>, bytes: Vec<(u64, Bytes)>) -> Self {
        let mut len = 0;
        let segments = bytes.into_iter().map(|(size, bytes)| {
            let segment = Segment { start: len, len: size, bytes };
            len += size;
            segment
        });
        let segments = segments.filter(|s| s.len > 0).collect();
        let name = key.rsplit('/').next().unwrap_or(key).to_owned();
        Self { key: key.to_owned(), name, parts, segments, len }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn part_names(&self) -> impl Iterator<Item = String> {
        self.parts.iter().map(|part| part.name.clone())
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor { segments: self.segments.clone(), len: self.len, at: 0 }
    }

    /// Up to `len` bytes from `at` on; fewer at the end.
    pub(super) fn bytes(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut cursor = self.cursor();
        cursor.at = at;
        cursor
            .take(len)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::data(format!("{}: cannot be read: {e}", self.key)))?;
        Ok(bytes)
    }
}

/// A position in a [`Source`]. Every read gives its offset, so clones share the open files.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    segments: Arc<[Segment]>,
    len: u64,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let after = self.segments.partition_point(|s| s.start <= self.at);
        let Some(segment) = after.checked_sub(1).and_then(|i| self.segments.get(i)) else {
            return Ok(0);
        };
        let within = self.at - segment.start;
        let left = segment.len.saturating_sub(within);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let read = match &segment.bytes {
            Bytes::File(file) => file.read_at(&mut buffer[..want], within)?,
            Bytes::Memory(bytes) => {
                let from = usize::try_from(within).map_err(io::Error::other)?;
                buffer[..want].copy_from_slice(&bytes[from..from + want]);
                want
            }
        };
        if read == 0 {
            // The file is shorter than when it was opened; continuing would skip the missing bytes.
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file has become shorter",
            ));
        }
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before byte 0"))?;
        Ok(self.at)
    }
}

/// `x.zip.001` into `x.zip` and `001`.
pub(super) fn numbered(name: &str) -> Option<(&str, &str)> {
    let (stem, digits) = name.rsplit_once('.')?;
    (digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit())).then_some((stem, digits))
}

/// An archive's name without the endings that name its format: `b` for `b.zip`, `b.tar.gz`,
/// `b.zip.001`, `b.part1.rar`.
pub(super) fn stem(name: &str) -> &str {
    let whole = numbered(name).map_or(name, |(stem, _)| stem);
    let Some((stem, _)) = whole.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) else {
        return whole;
    };
    match stem.rsplit_once('.') {
        Some((shorter, last)) if !shorter.is_empty() && (last == "tar" || is_volume(last)) => {
            shorter
        }
        _ => stem,
    }
}

/// `part1`, `part02`.
pub(super) fn is_volume(piece: &str) -> bool {
    let digits = piece.strip_prefix("part").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_leave_the_format_out() {
        for name in ["b.zip", "b.tar.gz", "b.zip.001", "b.part01.rar", "b.change2zip", "b"] {
            assert_eq!(stem(name), "b", "{name}");
        }
        assert_eq!(stem("v1.2.zip"), "v1.2");
        assert_eq!(stem(".zip"), ".zip");
    }

    #[test]
    fn a_cursor_crosses_pieces_and_reads_a_replaced_tail() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.001", "hello "), ("a.002", ""), ("a.003", "world")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let beside = |name: &str| Some(folder.path().join(name)).filter(|p| p.is_file());
        let source = Source::open("a.001", &folder.path().join("a.001"), &beside).unwrap();
        assert_eq!(source.bytes(0, 99).unwrap(), b"hello world");
        assert_eq!(source.bytes(4, 4).unwrap(), b"o wo");
        let changed = source.with_tail(8, b"!!".to_vec());
        assert_eq!(changed.bytes(0, 99).unwrap(), b"hello wo!!");
        assert_eq!(changed.bytes(99, 1).unwrap(), b"");
    }
}
