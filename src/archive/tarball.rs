//! tar and tar.gz: one pass over the stream.

use std::io::{self, BufReader, Read};

use anyhow::Result;
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::{
    entry::{Entry, Gate, Kind, is_folder},
    source::Source,
    write::{BUFFER_LEN, check_space, damaged, unreadable},
};

/// How to unpack names in another encoding.
const BY_HAND: &str =
    "python3 -c \"import tarfile; tarfile.open('ARCHIVE', encoding='gbk').extractall('FOLDER')\"";

pub(super) fn unpack(source: &Source, gzipped: bool, gate: &mut Gate<'_>) -> Result<()> {
    let packed = BufReader::with_capacity(BUFFER_LEN, source.cursor());
    if gzipped {
        return unpack_stream(MultiGzDecoder::new(packed), gate);
    }
    check_space(gate.target.archive, gate.target.folder, source.len())?;
    unpack_stream(packed, gate)
}

fn unpack_stream(stream: impl Read, gate: &mut Gate<'_>) -> Result<()> {
    let target = gate.target;
    let mut archive = Archive::new(stream);
    let mut buffer = vec![0; BUFFER_LEN];
    let mut last = String::new();
    let entries = archive.entries().map_err(|e| unreadable(target.archive, &e))?;
    for entry in entries {
        let mut file = entry.map_err(|e| after(target.archive, &last, &e))?;
        let name = gate.text(&file.path_bytes(), BY_HAND)?;
        let Some(kind) = kind(file.header().entry_type(), &name) else { continue };
        let entry = Entry { name: &name, kind, size: file.size(), packed: None, encrypted: false };
        if let Some(path) = gate.admit(&entry)? {
            target.copy(&path, entry.size, &mut file, &mut buffer)?;
        }
        last = name;
    }
    // To the end, so that the gzip checksum covers all of it and a truncated stream is noticed.
    let mut stream = archive.into_inner();
    loop {
        target.go_on()?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(after(target.archive, &last, &e)),
        }
    }
}

/// What an entry is; `None` for one that only describes others.
fn kind(entry: EntryType, name: &str) -> Option<Kind> {
    Some(match entry {
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink | EntryType::Link => Kind::Link,
        EntryType::Char | EntryType::Block => Kind::Special("a device"),
        EntryType::Fifo => Kind::Special("a pipe"),
        EntryType::XGlobalHeader => return None,
        // Old tars mark folders only by the name.
        _ if is_folder(name) => Kind::Folder,
        _ => Kind::File,
    })
}

fn after(archive: &str, last: &str, error: &io::Error) -> anyhow::Error {
    if last.is_empty() {
        return unreadable(archive, error);
    }
    damaged(archive, last, &format!("the archive breaks off there or after it ({error})"))
}
