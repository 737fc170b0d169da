//! Files for readers that take a path.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    /// In `TMPDIR`, which is in memory when `cargo xtask check --fuzz` runs.
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder for temporary files");
}

/// A path of this thread, whether or not there is a file.
pub(crate) fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// Writes `bytes` there.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    std::fs::write(&path, bytes).expect("writing a temporary file");
    path
}

/// An empty folder.
pub(crate) fn empty_folder(name: &str) -> PathBuf {
    let path = path(name);
    remove(&path);
    std::fs::create_dir(&path).expect("making a temporary folder");
    path
}

fn remove(path: &Path) {
    if path.exists() {
        std::fs::remove_dir_all(path).expect("removing a temporary folder");
    }
}
