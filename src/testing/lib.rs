//! What tests of several crates share. It depends on no other crate, so that it is built once, before
//! them: `sonotune-testing-models` has what needs the engine.

// Clippy treats only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tiny;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub use tiny::{MASK2FORMER, Tiny};

/// The project's folder.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Folder with the reference implementation's tensors and a few real images, or `None` with the
/// reason printed, so that a clone without them reports which tests were skipped.
#[must_use]
pub fn shared(relative: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("SONOTUNE_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = folder.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is missing (set SONOTUNE_SHARED)", path.display());
    None
}

/// A file that ships with the project under `tests/fixtures`.
#[must_use]
pub fn fixture(relative: &str) -> PathBuf {
    root().join("tests/fixtures").join(relative)
}

/// A Python that imports `modules`, or `None` with the reason printed.
#[must_use]
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let python =
        std::env::var_os("SONOTUNE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let code = format!("import {}", modules.join(", "));
    let works = Command::new(&python).args(["-c", &code]).output();
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

/// Asserts that a program ended well, and shows what it printed if not.
#[track_caller]
pub fn assert_success(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
}

/// Asserts that it ended with `code`, and that its message contains all `parts`.
#[track_caller]
pub fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_contains(&text, parts);
}

/// Asserts that `text` contains all `parts`.
#[track_caller]
pub fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}
