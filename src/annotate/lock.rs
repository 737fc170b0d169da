//! One session a file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sonotune_base::{Error, fs::folder_of};

/// The right to write a file, until it is dropped. The system takes it back from a process that dies, however it
/// does, so that none is ever in the way of the next.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// Keeps the lock.
    file: File,
    /// Some network disks have no locks; there a session goes ahead without.
    pub(crate) is_held: bool,
}

impl Lock {
    /// Takes the lock of the file at `path`.
    ///
    /// # Errors
    /// Kind config if another process has it; the message says which.
    pub(crate) fn take(path: &Path, holder: &str) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let lock_path = folder_of(path).join(format!(".{name}.lock"));
        let cannot = || {
            format!("cannot write {}: choose another place with --annotations", lock_path.display())
        };
        loop {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&lock_path)
                .with_context(cannot)?;
            let is_held = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => return Err(refusal(path, &mut file).into()),
                Err(TryLockError::Error(_)) => false,
            };
            // The last holder may have removed the file between its opening and its locking.
            let mine = file.metadata().with_context(cannot)?.ino();
            if std::fs::metadata(&lock_path).is_ok_and(|there| there.ino() != mine)
                || !lock_path.exists()
            {
                continue;
            }
            file.set_len(0).with_context(cannot)?;
            file.write_all(holder.as_bytes()).with_context(cannot)?;
            return Ok(Self { path: lock_path, file, is_held });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still locked: nobody can hold another file of this name. What stays behind harms no one.
        drop(std::fs::remove_file(&self.path));
        drop(self.file.unlock());
    }
}

fn refusal(path: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    drop(file.rewind().and_then(|()| file.take(1000).read_to_string(&mut holder)));
    let holder = holder.trim();
    let who = if holder.is_empty() { "another process".to_owned() } else { holder.to_owned() };
    Error::config(format!(
        "{} is being annotated by {who}; use its page, stop it, or choose another file with --annotations",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_of_the_first_and_comes_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let first = Lock::take(&path, "process 7 (Ada)").unwrap();
        assert!(first.is_held);
        let error = Lock::take(&path, "process 8").unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 2);
        assert!(
            error.to_string().contains("a.json is being annotated by process 7 (Ada);"),
            "{error}"
        );
        drop(first);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // What a killed process left does not count.
        std::fs::write(folder.path().join(".a.json.lock"), "process 9 with a longer text").unwrap();
        let _third = Lock::take(&path, "process 10").unwrap();
        let error = Lock::take(&path, "process 11").unwrap_err();
        assert!(error.to_string().contains("by process 10;"), "{error}");
    }
}
