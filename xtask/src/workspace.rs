//! Paths in the workspace.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The repository's root folder.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable for `cargo run`; a binary started by hand uses the path it was built in.
    let manifest_dir =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest_dir).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The project-local libtorch: a `pip --target` folder that holds `torch/`.
pub(crate) fn libtorch_dir() -> PathBuf {
    root().join(".libtorch")
}

/// Virtual environments of tests and benches.
pub(crate) fn python_dir() -> PathBuf {
    root().join(".python")
}

/// Where Cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(chosen.unwrap_or_else(|| "target".into()))
}

/// A path for display: relative to the working directory if it is below it.
pub(crate) fn shown(path: &Path) -> String {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf))
        .filter(|relative| !relative.as_os_str().is_empty())
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}

/// Removes a folder, if there is one.
///
/// # Errors
/// If it cannot be removed.
pub(crate) fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Takes the lock `name` in `folder`, until the returned file is closed by everyone who holds it.
///
/// # Errors
/// If another process holds it, or the folder cannot be written.
pub(crate) fn lock(folder: &Path, name: &str) -> Result<File> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join(name);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!(
            "another setup is running (it holds {}); wait for it, or end it and its pip",
            path.display()
        );
    }
    Ok(file)
}
