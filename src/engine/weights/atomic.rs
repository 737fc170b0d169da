//! Files that are there whole or not at all.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Writes `path` through a temporary file beside it: content and name are on the disk when this
/// returns, and an old file stays until the new one replaces it.
pub(super) fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let temporary = Temporary::beside(path)?;
    let file = File::create(&temporary.0)
        .with_context(|| format!("cannot create {}", temporary.0.display()))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let written = content(&mut writer).and_then(|()| {
        writer.flush()?;
        writer.get_ref().sync_all()?;
        Ok(())
    });
    written.with_context(|| format!("cannot write {}", path.display()))?;
    fs::rename(&temporary.0, path).with_context(|| format!("cannot write {}", path.display()))?;
    // The new name is durable only once its folder is.
    File::open(folder(path)).and_then(|folder| folder.sync_all())?;
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes its file when dropped, unless it was renamed away.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path) -> Result<Self> {
        let name = path
            .file_name()
            .with_context(|| format!("{} names no file", path.display()))?
            .to_string_lossy();
        Ok(Self(folder(path).join(format!(".{name}.{}.tmp", std::process::id()))))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
