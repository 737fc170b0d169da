//! Writes entries to disk and counts them against the limits as they grow.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::Result;
use sonotune_base::{Error, stop::StopFlag, words::bytes};

use super::Limits;

pub(super) const BUFFER_LEN: usize = 128 << 10;

/// What all archives of one call have unpacked, and may unpack.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    max_bytes: u64,
    max_files: u64,
    spent: Arc<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    bytes: AtomicU64,
    entries: AtomicU64,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { max_bytes, max_files, .. } = *limits;
        Self { max_bytes, max_files, spent: Arc::default() }
    }

    pub(super) fn charge_entry(&self, archive: &str) -> Result<()> {
        if self.spent.entries.fetch_add(1, Relaxed) < self.max_files {
            return Ok(());
        }
        Err(Error::data(format!(
            "{archive}: more than {} entries, the limit for one call, as a zip bomb \
             would; if you trust it, unpack it by hand and pass the folder",
            self.max_files
        ))
        .into())
    }

    /// Whether `more` bytes still fit.
    pub(super) fn check(&self, archive: &str, more: u64) -> Result<()> {
        if self.spent.bytes.load(Relaxed).saturating_add(more) <= self.max_bytes {
            return Ok(());
        }
        Err(Error::data(format!(
            "{archive}: unpacks to more than {} bytes, the limit for one call, as a zip bomb \
             would; if you trust it, unpack it by hand and pass the folder",
            self.max_bytes
        ))
        .into())
    }

    fn charge(&self, archive: &str, bytes: u64) -> Result<()> {
        self.check(archive, bytes)?;
        self.spent.bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    pub(super) fn charge_reused(&self, archive: &str, bytes: u64, files: u64) -> Result<()> {
        for _ in 0..files.min(self.max_files.saturating_add(1)) {
            self.charge_entry(archive)?;
        }
        self.charge(archive, bytes)
    }
}

/// Where an archive is unpacked to.
pub(super) struct Target<'a> {
    /// Path of the archive in the source, for messages.
    pub(super) archive: &'a str,
    pub(super) folder: &'a Path,
    pub(super) budget: &'a Budget,
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
    pub(super) stop: &'a StopFlag,
    pub(super) tally: Tally,
}

/// What was written from one archive.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<(AtomicU64, AtomicU64)>);

impl Target<'_> {
    /// Fails once a stop was requested.
    pub(super) fn go_on(&self) -> Result<()> {
        go_on(self.archive, self.stop)
    }

    /// Files and bytes so far.
    pub(super) fn written(&self) -> (u64, u64) {
        (self.tally.0.0.load(Relaxed), self.tally.0.1.load(Relaxed))
    }

    /// Creates the file of an entry, still empty; `path` has passed the gate.
    pub(super) fn create(&self, path: &str, size: u64) -> Result<EntryFile> {
        let place = self.folder.join(path);
        let file = create_new(&place).map_err(|e| sonotune_base::fs::explain(&place, e))?;
        self.tally.0.0.fetch_add(1, Relaxed);
        Ok(EntryFile {
            file,
            place,
            archive: self.archive.to_owned(),
            path: path.to_owned(),
            size,
            written: 0,
            budget: self.budget.clone(),
            stop: self.stop.clone(),
            tally: self.tally.clone(),
        })
    }

    /// Writes a whole entry of `size` bytes from a reader that checks what it decodes.
    pub(super) fn copy(
        &self,
        path: &str,
        size: u64,
        reader: &mut dyn Read,
        buffer: &mut [u8],
    ) -> Result<()> {
        let mut file = self.create(path, size)?;
        loop {
            match reader.read(buffer) {
                // Only at zero: readers verify the checksum at the end of the data.
                Ok(0) => return file.finish(),
                Ok(read) => {
                    file.append(&buffer[..read])?;
                    (self.progress)(read as u64);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(damaged(self.archive, path, &e)),
            }
        }
    }
}

/// A file that is being unpacked. It borrows nothing, for decoders that want to own their output.
pub(super) struct EntryFile {
    file: File,
    place: PathBuf,
    archive: String,
    path: String,
    /// As the archive declares it.
    size: u64,
    written: u64,
    budget: Budget,
    stop: StopFlag,
    tally: Tally,
}

impl EntryFile {
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        go_on(&self.archive, &self.stop)?;
        let len = bytes.len() as u64;
        self.written += len;
        if self.written > self.size {
            return Err(self.lies("unpacks to more than that"));
        }
        self.budget.charge(&self.archive, len)?;
        self.file.write_all(bytes).map_err(|e| sonotune_base::fs::explain(&self.place, e))?;
        self.tally.0.1.fetch_add(len, Relaxed);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        if self.written == self.size {
            return Ok(());
        }
        Err(self.lies(&format!("unpacks to {}", self.written)))
    }

    fn lies(&self, but: &str) -> anyhow::Error {
        Error::data(format!(
            "{}: entry {:?} has {} bytes according to the archive, but {but}; the archive is damaged \
             or malicious: download it again",
            self.archive, self.path, self.size
        ))
        .into()
    }
}

/// The error for an entry that cannot be decoded.
pub(super) fn damaged(archive: &str, entry: &str, why: &dyn std::fmt::Display) -> anyhow::Error {
    Error::data(format!(
        "{archive}: entry {entry:?} cannot be unpacked: {why}; the archive is damaged or \
         incomplete: download it again"
    ))
    .into()
}

/// The error for an archive that cannot be read at all.
pub(super) fn unreadable(archive: &str, why: &dyn std::fmt::Display) -> anyhow::Error {
    Error::data(format!(
        "{archive}: cannot be read: {why}; download it again, or unpack it by hand and pass the \
         folder"
    ))
    .into()
}

fn go_on(archive: &str, stop: &StopFlag) -> Result<()> {
    if !stop.is_raised() {
        return Ok(());
    }
    Err(Error::interrupted(format!(
        "stopped while unpacking {archive}; the same command continues from there"
    ))
    .into())
}

/// Creates a new file. Folders are created only if missing: most entries have neighbours.
fn create_new(place: &Path) -> io::Result<File> {
    match File::create_new(place) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(place.parent().unwrap_or(place))?;
            File::create_new(place)
        }
        other => other,
    }
}

/// Refuses to start unpacking what the disk cannot hold.
pub(super) fn check_space(archive: &str, folder: &Path, needed: u64) -> Result<()> {
    // A file system that does not report its free space may still take the files.
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let available = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed <= available {
        return Ok(());
    }
    // The work folder, not what is created in it for this archive.
    let work = folder.ancestors().nth(2).unwrap_or(folder);
    Err(Error::storage(format!(
        "{archive}: needs {} unpacked, but the disk of {} has {} left; free some space there or \
         choose another folder",
        bytes(needed),
        work.display(),
        bytes(available)
    ))
    .into())
}
