//! Files that survive a crash: written whole or not at all, or appended line by line.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Writes `bytes` to `path` so that at any moment, power loss included, the file is the old one or
/// the whole new one. See [`atomic_write_with`].
///
/// # Errors
/// When the folder is absent, not writable or full; the message says which, and the old file stays.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic_write_with(path, |file| file.write_all(bytes))
}

/// Like [`atomic_write`] for content that is produced piece by piece: `write` fills a temporary file
/// beside `path`, which is then synced and renamed.
///
/// # Errors
/// As [`atomic_write`]; those of `write` too.
pub fn atomic_write_with(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<&mut File>) -> io::Result<()>,
) -> Result<()> {
    replace(path, write).map_err(|e| explain(path, e))
}

fn replace(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    let folder = folder_of(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // 0o666 less the umask, as any other file; tempfile's own default hides it from the group.
    let mut temporary = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    let mut buffered = io::BufWriter::new(temporary.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|e| e.error)?;
    // The rename itself is on disk only once the folder is.
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// An error of writing that names the file and, where it can, the remedy.
pub fn explain(path: &Path, error: io::Error) -> anyhow::Error {
    let context = match error.kind() {
        io::ErrorKind::StorageFull => {
            format!("cannot write {}: the disk is full; free some space there", path.display())
        }
        io::ErrorKind::QuotaExceeded => {
            format!("cannot write {}: your disk quota is used up", path.display())
        }
        _ => format!("cannot write {}", path.display()),
    };
    anyhow::Error::new(error).context(context)
}

/// A file that grows record by record. A record is in the file whole or not at all, also when the
/// disk is full; each is handed to the system at once.
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
    /// When that is impossible; names the file.
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
    /// When it cannot be written; what was there before stays whole.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        match self.file.write_all(record) {
            Ok(()) => {
                self.len += record.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a record would spoil what follows once there is space again. Shrinking can
                // fail only where nothing could have been written (a device): nothing to undo.
                drop(self.file.set_len(self.len));
                Err(explain(&self.path, error))
            }
        }
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// Passes the system's on.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| explain(&self.path, e))
    }
}

/// The text of a file, `None` when there is none.
///
/// # Errors
/// When it exists and cannot be read; names it.
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
        let error = atomic_write_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(format!("{error:#}").contains("summary.json: the disk is full"), "{error:#}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        atomic_write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
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
            assert!(format!("{error:#}").contains("the disk is full"), "{error:#}");
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
