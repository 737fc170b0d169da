//! The files of the repository, and which package each belongs to.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Paths are relative to the root and sorted.
pub(super) struct Tree {
    root: PathBuf,
    files: Vec<PathBuf>,
    /// Folders with a `Cargo.toml`, inside the workspace or not.
    packages: BTreeSet<PathBuf>,
}

impl Tree {
    /// Lists what people write: no hidden folder, and nothing that the root's `.gitignore` names.
    ///
    /// Git is not asked, because an archive of the source has no repository.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let ignored: BTreeSet<&str> =
            ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
        let mut files = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let here = root.join(&folder);
            let cannot = || format!("cannot list {}", here.display());
            for entry in fs::read_dir(&here).with_context(cannot)? {
                let entry = entry.with_context(cannot)?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let at_root = folder.as_os_str().is_empty();
                if name.starts_with('.') || (at_root && ignored.contains(&*name)) {
                    continue;
                }
                let kind = entry.file_type().with_context(cannot)?;
                if kind.is_dir() {
                    folders.push(folder.join(&*name));
                } else if kind.is_file() {
                    files.push(folder.join(&*name));
                }
            }
        }
        files.sort();
        let manifests = files.iter().filter(|file| file.ends_with("Cargo.toml"));
        let packages = manifests.filter_map(|file| file.parent()).map(Path::to_path_buf).collect();
        Ok(Self { root: root.to_path_buf(), files, packages })
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// The folder of the innermost package that holds `file`.
    pub(super) fn package_of(&self, file: &Path) -> Option<&Path> {
        file.ancestors().skip(1).find_map(|folder| self.packages.get(folder)).map(PathBuf::as_path)
    }

    /// # Errors
    /// When the file cannot be read or is not UTF-8.
    pub(super) fn text(&self, file: &Path) -> Result<String> {
        fs::read_to_string(self.root.join(file))
            .with_context(|| format!("cannot read {}", file.display()))
    }
}
