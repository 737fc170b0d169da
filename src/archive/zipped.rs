//! zip: entries are unpacked one by one, on all threads.

use std::sync::Mutex;

use anyhow::Result;
use rayon::prelude::*;
use sonotune_base::Error;
use zip::{SUPPORTED_COMPRESSION_METHODS, ZipArchive, read::ZipFileEntry};

use super::{
    entry::{Entry, Gate, Kind, is_folder},
    source::{Cursor, Source},
    split,
    write::{BUFFER_LEN, check_space, damaged, unreadable},
};

/// An entry to be written.
struct Job {
    index: usize,
    path: String,
    size: u64,
}

pub(super) fn unpack(source: &Source, gate: &mut Gate<'_>) -> Result<()> {
    let target = gate.target;
    let mut zip = ZipArchive::new(source.cursor()).map_err(|e| unreadable(target.archive, &e))?;
    check_directory(source, &mut zip, gate)?;
    let mut jobs = Vec::new();
    for index in 0..zip.len() {
        let file = zip.by_index_data(index).map_err(|e| unreadable(target.archive, &e))?;
        let name = name(&file, gate)?;
        let entry = Entry {
            name: &name,
            kind: kind(&file, &name),
            size: file.size(),
            packed: Some(file.compressed_size()),
            encrypted: file.encrypted(),
        };
        if let Some(path) = gate.admit(&entry)? {
            check_method(target.archive, &file, &path)?;
            jobs.push(Job { index, path, size: file.size() });
        }
    }
    check_space(target.archive, target.folder, gate.declared())?;
    run(&zip, &jobs, gate)
}

/// Unpacks all jobs; of several failures reports the first in the archive, on any number of threads.
fn run(zip: &ZipArchive<Cursor>, jobs: &[Job], gate: &Gate<'_>) -> Result<()> {
    let target = gate.target;
    let failure: Mutex<Option<(usize, anyhow::Error)>> = Mutex::new(None);
    let lock = || failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    jobs.par_iter().for_each_init(
        || (zip.clone(), vec![0; BUFFER_LEN]),
        |(zip, buffer), job| {
            if lock().as_ref().is_some_and(|(index, _)| *index < job.index) {
                return;
            }
            let done = zip
                .by_index(job.index)
                .map_err(|e| damaged(target.archive, &job.path, &e))
                .and_then(|mut file| target.copy(&job.path, job.size, &mut file, buffer));
            if let Err(error) = done {
                let mut first = lock();
                if first.as_ref().is_none_or(|(index, _)| job.index < *index) {
                    *first = Some((job.index, error));
                }
            }
        },
    );
    let failed = lock().take();
    failed.map_or(Ok(()), |(_, error)| Err(error))
}

/// Refuses duplicate names, which the reader would merge, and bytes shared by several entries, with
/// which a small archive unpacks to petabytes (Fifield, *A better zip bomb*, 2019).
fn check_directory(source: &Source, zip: &mut ZipArchive<Cursor>, gate: &Gate<'_>) -> Result<()> {
    if zip.has_duplicate_names() {
        let names = split::names(source, zip.central_directory_start())?;
        let mut seen = std::collections::HashSet::new();
        let twice = names.iter().find(|name| !seen.insert(*name));
        let twice = twice.map_or_else(|| "?".into(), |name| String::from_utf8_lossy(name));
        return Err(gate.refuse(&twice, "occurs twice, and it is unclear which one is meant"));
    }
    if zip.has_overlapping_entries().map_err(|e| unreadable(gate.target.archive, &e))? {
        return Err(unreadable(gate.target.archive, &"its entries overlap, as in a bomb"));
    }
    Ok(())
}

/// The name: UTF-8 if valid, flagged or not (macOS does not flag it), or else the code page of a
/// Western system.
fn name(file: &ZipFileEntry<'_>, gate: &Gate<'_>) -> Result<String> {
    let raw = file.name_raw();
    match file.name() {
        Ok(name) if str::from_utf8(raw).is_ok() || is_western(raw) => Ok(name.into_owned()),
        _ => {
            let archive = gate.target.archive.rsplit('/').next().unwrap_or_default();
            let by_hand =
                format!("python3 -m zipfile --metadata-encoding gbk -e '{archive}' FOLDER");
            gate.text(raw, &by_hand)
        }
    }
}

/// Whether a name consists of ASCII and accented letters that code pages 437 and 850 share, and does
/// not look like two-byte characters, which come in rows.
fn is_western(name: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii() || matches!(byte, 0x80..=0x9a | 0xa0..=0xa5 | 0xe1);
    let is_pair = |pair: &[u8]| pair[0] > 0x80 && pair[1] >= 0x40;
    name.iter().all(|&byte| is_letter(byte))
        && !name.windows(4).any(|four| is_pair(&four[..2]) && is_pair(&four[2..]))
}

fn check_method(archive: &str, file: &ZipFileEntry<'_>, path: &str) -> Result<()> {
    let method = file.compression();
    if SUPPORTED_COMPRESSION_METHODS.contains(&method) {
        return Ok(());
    }
    Err(Error::data(format!(
        "{archive}: entry {path:?} is compressed with {method:?}, which is not supported; run `7z x` on \
         the archive and pass the folder"
    ))
    .into())
}

fn kind(file: &ZipFileEntry<'_>, name: &str) -> Kind {
    if is_folder(name) {
        return Kind::Folder;
    }
    file.unix_mode().map_or(Kind::File, Kind::of_mode)
}
