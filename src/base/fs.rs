//! Files that survive a crash: written whole or not at all, or appended line by line.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::storage::{Sizes, explain_sized, no_room};
pub use crate::storage::{explain, explain_write, free_space, require_space};

/// Writes `bytes` to `path` so that at any moment, even after a power loss, the file is either the old
/// one or the complete new one. See [`atomic_write_with`].
///
/// # Errors
/// If the folder is missing, not writable or full; the message says which, and the old file is kept.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic_write_sized(path, bytes.len() as u64, |file| file.write_all(bytes))
}

/// Like [`atomic_write`] for content that is produced piece by piece: `write` fills a temporary file
/// beside `path`, which is then synced and renamed.
///
/// # Errors
/// Same errors as [`atomic_write`], and those of `write`. On a full disk the error has kind storage and
/// says how many bytes are missing at least.
pub fn atomic_write_with(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<Output<'_>>) -> io::Result<()>,
) -> Result<()> {
    replace(path, None, write)
}

/// Like [`atomic_write_with`] for a known size, so that on a full disk the error says exactly
/// how many bytes are missing.
///
/// # Errors
/// Same errors as [`atomic_write_with`].
pub fn atomic_write_sized(
    path: &Path,
    bytes: u64,
    write: impl FnOnce(&mut io::BufWriter<Output<'_>>) -> io::Result<()>,
) -> Result<()> {
    replace(path, Some(bytes), write)
}

fn replace(
    path: &Path,
    size: Option<u64>,
    write: impl FnOnce(&mut io::BufWriter<Output<'_>>) -> io::Result<()>,
) -> Result<()> {
    let mut progress = Progress::default();
    // The temporary file is gone by the time the error is created, so its space is free again.
    replace_counted(path, &mut progress, write).map_err(|mut error| {
        // An encoder may have wrapped the system's error.
        if let Some(kind) = progress.no_room
            && no_room(&error).is_none()
        {
            error = io::Error::new(kind, error);
        }
        let needed = size.unwrap_or(0).max(progress.asked);
        let accepted = progress.no_room.map(|_| progress.taken);
        explain_sized(path, error, Some(Sizes { needed, exact: size.is_some(), accepted }))
    })
}

fn replace_counted(
    path: &Path,
    progress: &mut Progress,
    write: impl FnOnce(&mut io::BufWriter<Output<'_>>) -> io::Result<()>,
) -> io::Result<()> {
    let folder = folder_of(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // 0o666 minus the umask, like any other file; tempfile's default hides it from the group.
    let mut temporary = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    let mut buffered =
        io::BufWriter::new(Output { file: temporary.as_file_mut(), position: 0, progress });
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|e| e.error)?;
    // The rename itself is on disk only after the folder is synced.
    File::open(folder)?.sync_all()
}

/// How far the writing of a file got, in bytes from its start.
#[derive(Debug, Default)]
struct Progress {
    taken: u64,
    asked: u64,
    /// Why a write was refused; not set by the later sync, which does not report how much was lost.
    no_room: Option<io::ErrorKind>,
}

/// The temporary file that an atomic write fills.
#[derive(Debug)]
pub struct Output<'a> {
    file: &'a mut File,
    position: u64,
    progress: &'a mut Progress,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let progress = &mut *self.progress;
        progress.asked = progress.asked.max(self.position + bytes.len() as u64);
        match self.file.write(bytes) {
            Ok(count) => {
                self.position += count as u64;
                progress.taken = progress.taken.max(self.position);
                Ok(count)
            }
            Err(error) => {
                progress.no_room = progress.no_room.or(no_room(&error).map(|_| error.kind()));
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Output<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

/// The folder of a file; `.` for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that grows record by record. A record is in the file completely or not at all, even if the
/// disk is full; each is passed to the system immediately.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    path: PathBuf,
    /// Length up to the last whole record.
    len: u64,
}

impl AppendFile {
    /// Opens `path` for appending, or creates it.
    ///
    /// # Errors
    /// If that fails; the message names the file.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            let len = file.seek(SeekFrom::End(0))?;
            Ok(Self { file, path: path.to_owned(), len })
        };
        open().map_err(|e| explain(path, e))
    }

    /// Appends one record.
    ///
    /// # Errors
    /// If it cannot be written; earlier records stay intact.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        match self.file.write_all(record) {
            Ok(()) => {
                self.len += record.len() as u64;
                Ok(())
            }
            Err(error) => {
                let length = self.file.metadata().map_or(0, |file| file.len());
                let accepted = Some(length.saturating_sub(self.len));
                // Half a record would corrupt the following ones once there is space again. Truncating
                // can fail only if nothing could have been written (a device): nothing to undo.
                drop(self.file.set_len(self.len));
                let sizes = Sizes { needed: record.len() as u64, exact: true, accepted };
                Err(explain_sized(&self.path, error, Some(sizes)))
            }
        }
    }

    /// Waits until everything is on disk.
    ///
    /// # Errors
    /// Propagates errors from the system.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| explain(&self.path, e))
    }
}

/// The text of a file, or `None` if it does not exist.
///
/// # Errors
/// If it exists but cannot be read; the message names it.
pub fn read_if_exists(path: &Path) -> Result<Option<String>> {
    let mut text = String::new();
    match File::open(path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        atomic_write(&path, b"old").unwrap();
        let error = atomic_write_sized(&path, 1 << 62, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert_eq!(crate::error::exit_code(&error), 6);
        let text = format!("{error:#}");
        assert!(text.contains("summary.json: the disk is full"), "{text}");
        assert!(text.contains("4611686018427387904 bytes (4194304.0 TiB) to be written"), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        atomic_write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_full_disk_is_known_through_an_encoder_that_wraps_it() {
        let mut progress = Progress::default();
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut output = Output { file: &mut full, position: 0, progress: &mut progress };
        output.write_all(&[0; 300]).unwrap_err();
        assert_eq!((progress.asked, progress.taken), (300, 0));
        assert_eq!(progress.no_room, Some(io::ErrorKind::StorageFull));
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = atomic_write(Path::new("/nonexistent/x.json"), b"").unwrap_err();
        assert!(format!("{error:#}").contains("cannot write /nonexistent/x.json"), "{error:#}");
    }

    #[test]
    fn a_full_device_is_reported_and_later_appends_still_try() {
        let mut file = AppendFile::open(Path::new("/dev/full")).unwrap();
        for _ in 0..2 {
            let error = file.append(b"line\n").unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains("the disk is full (5 bytes to be written, "), "{text}");
            assert!(text.contains("5 bytes missing"), "{text}");
            assert_eq!(crate::error::exit_code(&error), 6);
        }
    }

    #[test]
    fn appending_goes_on_where_the_file_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.log");
        AppendFile::open(&path).unwrap().append(b"one\n").unwrap();
        AppendFile::open(&path).unwrap().append(b"two\n").unwrap();
        assert_eq!(read_if_exists(&path).unwrap().as_deref(), Some("one\ntwo\n"));
        assert_eq!(read_if_exists(&folder.path().join("none")).unwrap(), None);
    }
}
