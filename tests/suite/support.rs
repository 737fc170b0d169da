//! What several test modules need.

use std::path::{Path, PathBuf};

/// Folder with the reference implementation's tensors and a few real images, or `None` with the
/// reason printed, so that a clone without them says what it did not test.
#[allow(dead_code)]
pub(crate) fn shared(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SONOTUNE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent (set SONOTUNE_SHARED)", path.display());
    None
}

/// A file that ships with the project under `tests/fixtures`.
#[allow(dead_code)]
pub(crate) fn fixture(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(relative)
}
