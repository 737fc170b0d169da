//! 7z: entries share streams, so they are read in the archive's order.

use std::{collections::HashMap, io::BufReader};

use anyhow::Result;
use sevenz_rust2::{ArchiveEntry, ArchiveReader, EntryDecision, Error as SevenZError, Password};
use sonotune_base::Error;

use super::{
    entry::{Entry, Gate, Kind},
    source::Source,
    write::{BUFFER_LEN, check_space, unreadable},
};

const HAS_UNIX_MODE: u32 = 0x8000;
/// The largest dictionary that packers offer, 4 GiB. A declared dictionary does not occupy memory yet.
const MAX_MEMORY_KIB: usize = 4 << 20;

pub(super) fn unpack(source: &Source, gate: &mut Gate<'_>) -> Result<()> {
    let target = gate.target;
    let cursor = BufReader::with_capacity(BUFFER_LEN, source.cursor());
    let mut reader =
        ArchiveReader::new_with_memory_limit(cursor, Password::empty(), MAX_MEMORY_KIB)
            .map_err(|e| explain(target.archive, None, &e))?;
    let mut places = HashMap::new();
    for file in &reader.archive().files {
        let entry = Entry {
            name: &file.name,
            kind: kind(file),
            size: file.size,
            packed: None,
            encrypted: false,
        };
        if file.is_anti_item {
            return Err(gate.refuse(&file.name, "is a marker to delete a file, not a file"));
        }
        if let Some(path) = gate.admit(&entry)? {
            places.insert(file.name.clone(), path);
        }
    }
    check_space(target.archive, target.folder, gate.declared())?;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut failure = None;
    let mut at = None;
    let done = reader.for_each_entries_with_decision(|file, stream| {
        at = Some(file.name.clone());
        let copied = target.go_on().and_then(|()| match places.get(&file.name) {
            Some(path) => target.copy(path, file.size, stream, &mut buffer),
            // The reader itself skips to where the next entry begins.
            None => Ok(()),
        });
        // The reader's own error type does not carry ours.
        Ok(match copied {
            Ok(()) => EntryDecision::Continue,
            Err(error) => {
                failure = Some(error);
                EntryDecision::Stop
            }
        })
    });
    match failure {
        Some(error) => Err(error),
        None => done.map_err(|e| explain(target.archive, at.as_deref(), &e)),
    }
}

fn kind(file: &ArchiveEntry) -> Kind {
    if file.is_directory {
        return Kind::Folder;
    }
    if file.has_windows_attributes && file.windows_attributes & HAS_UNIX_MODE != 0 {
        return Kind::of_mode(file.windows_attributes >> 16);
    }
    Kind::File
}

/// Explains an error of the reader. `after`: the entry being read, or the one before.
fn explain(archive: &str, after: Option<&str>, error: &SevenZError) -> anyhow::Error {
    let encrypted = match error {
        SevenZError::PasswordRequired | SevenZError::MaybeBadPassword(_) => true,
        SevenZError::UnsupportedCompressionMethod(method) => method.starts_with("AES"),
        _ => false,
    };
    match error {
        _ if encrypted => Error::data(format!(
            "{archive}: is encrypted; unpack it by hand with its password and pass the folder"
        ))
        .into(),
        SevenZError::UnsupportedCompressionMethod(method) => Error::data(format!(
            "{archive}: is compressed with {method}, which is not supported; run `7z x` on it and pass \
             the folder"
        ))
        .into(),
        _ => match after {
            Some(entry) => unreadable(archive, &format!("{error}, at or after entry {entry:?}")),
            None => unreadable(archive, error),
        },
    }
}
