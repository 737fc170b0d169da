//! Where an unpacked archive is stored: complete and recorded, or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sonotune_base::Error;

use super::{
    entry::{Counts, LeftOut},
    source::Source,
    tree,
};

/// Changes when the same archive would be unpacked differently.
const VERSION: u32 = 2;
const RECORD: &str = "unpacked.json";
const FILES: &str = "files";
const LOCK: &str = ".lock";

/// A work folder that no other process unpacks into.
#[derive(Debug)]
pub(super) struct WorkFolder {
    _lock: File,
}

impl WorkFolder {
    pub(super) fn is_one(folder: &Path) -> bool {
        folder.join(LOCK).is_file()
    }

    pub(super) fn lock(folder: &Path) -> Result<Self> {
        let open = || {
            fs::create_dir_all(folder)?;
            File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))
        };
        let lock = open().map_err(|e| sonotune_base::fs::explain(folder, e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::data(format!(
                "another process unpacks archives into {}; wait for it or choose another folder",
                folder.display()
            ))
            .into()),
            Err(TryLockError::Error(e)) => Err(sonotune_base::fs::explain(&folder.join(LOCK), e)),
        }
    }
}

/// What is recorded about an unpacked archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// What it was unpacked from.
    archive: Vec<Fingerprint>,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) left_out: LeftOut,
}

/// A file as it was. The time detects a new download of the same size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fingerprint {
    name: String,
    bytes: u64,
    modified_ns: i128,
}

/// The place of one archive in the work folder.
#[derive(Debug)]
pub(super) struct Slot {
    folder: PathBuf,
    archive: Vec<Fingerprint>,
}

impl Slot {
    pub(super) fn new(into: &Path, key: &str, sources: &[Source]) -> Self {
        let name = key.rsplit('/').next().unwrap_or(key);
        // The key itself may be too long for a file name, and two keys may share their last part.
        let hash: String =
            Sha256::digest(key).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let short: String = name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
            .take(60)
            .collect();
        let parts = sources.iter().flat_map(|source| &source.parts);
        let archive = parts.map(|part| Fingerprint {
            name: part.name.clone(),
            bytes: part.len,
            modified_ns: part.mtime,
        });
        let folder = into.join(format!("{}-{hash}", short.trim_start_matches('.')));
        Self { folder, archive: archive.collect() }
    }

    /// The folder with the entries.
    pub(super) fn files(&self) -> PathBuf {
        self.folder.join(FILES)
    }

    /// The record, if exactly this archive is unpacked and nothing has been removed since.
    pub(super) fn reuse(&self) -> Option<Record> {
        let text = fs::read_to_string(self.folder.join(RECORD)).ok()?;
        let record: Record = serde_json::from_str(&text).ok()?;
        let same = record.version == VERSION && record.archive == self.archive;
        (same && tree::measure(&self.files()).ok()? == (record.files, record.bytes))
            .then_some(record)
    }

    /// Unpacks with `unpack`, which receives the folder for the entries. Unfinished work is
    /// removed, now or next time.
    pub(super) fn fill(&self, unpack: impl FnOnce(&Path) -> Result<Counts>) -> Result<Record> {
        let mut partial: OsString = self.folder.clone().into();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        remove(&partial)?;
        remove(&self.folder)?;
        let done = self.fill_partial(&partial, unpack);
        if done.is_err() {
            // The failure is what matters; leftovers are removed next time.
            drop(fs::remove_dir_all(&partial));
        }
        done
    }

    fn fill_partial(
        &self,
        partial: &Path,
        unpack: impl FnOnce(&Path) -> Result<Counts>,
    ) -> Result<Record> {
        let files = partial.join(FILES);
        fs::create_dir_all(&files).map_err(|e| sonotune_base::fs::explain(&files, e))?;
        let Counts { files, bytes, left_out } = unpack(&files)?;
        let record =
            Record { version: VERSION, archive: self.archive.clone(), files, bytes, left_out };
        sync(partial).map_err(|e| sonotune_base::fs::explain(partial, e))?;
        sonotune_base::fs::atomic_write(
            &partial.join(RECORD),
            &serde_json::to_vec_pretty(&record)?,
        )?;
        fs::rename(partial, &self.folder)
            .map_err(|e| sonotune_base::fs::explain(&self.folder, e))?;
        Ok(record)
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Waits until all files below `folder` are on the disk. One call for all of them: waiting for each
/// of ten thousand small files takes longer than unpacking them.
#[cfg(target_os = "linux")]
fn sync(folder: &Path) -> std::io::Result<()> {
    rustix::fs::syncfs(File::open(folder)?)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn sync(folder: &Path) -> std::io::Result<()> {
    for entry in walkdir::WalkDir::new(folder) {
        File::open(entry?.path())?.sync_all()?;
    }
    Ok(())
}
