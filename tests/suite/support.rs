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

/// A Python that imports `modules`, or `None` with the reason printed.
#[allow(dead_code)]
pub(crate) fn python(modules: &[&str]) -> Option<PathBuf> {
    let python =
        std::env::var_os("SONOTUNE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let code = format!("import {}", modules.join(", "));
    let works = std::process::Command::new(&python).args(["-c", &code]).output();
    if works.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!(
        "skipped: {} has not all of {} (set SONOTUNE_PYTHON)",
        python.display(),
        modules.join(", ")
    );
    None
}
