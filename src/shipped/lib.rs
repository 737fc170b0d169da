//! The configs that Sonotune ships, within the program: a user of the wheel has no checkout to take them from.
//!
//! The files are those of the repository's folder `configs`, byte by byte; [`copy`] writes them to a folder,
//! where `extends = "configs/base/…"` finds them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;
use sonotune_base::{
    Error,
    fs::atomic_write,
    words::{counted, listed},
};

/// Path relative to the repository, `configs/base/demo.toml`, and the text.
pub const CONFIGS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/configs.rs"));

/// What to do with files that are there already and differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// An error that names them; nothing is written.
    Refuse,
    Overwrite,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// `DIR/configs`.
    pub folder: PathBuf,
    /// Every shipped file, relative to DIR.
    pub files: Vec<&'static str>,
    /// Those of `files` that were there already, with the same text.
    pub unchanged: usize,
}

/// Writes all configs to `folder/configs`. Other files there are left alone.
///
/// # Errors
/// Of kind config, before anything is written, if a file is there with another text and `existing` refuses; errors
/// of the file system.
pub fn copy(folder: &Path, existing: Existing) -> Result<Copied> {
    let mut to_write = Vec::new();
    let mut differ = Vec::new();
    for (name, text) in CONFIGS {
        let path = folder.join(name);
        match fs::read(&path) {
            Ok(found) if found == text.as_bytes() => {}
            Ok(_) => {
                differ.push(*name);
                to_write.push((path, text));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                to_write.push((path, text));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    if existing == Existing::Refuse && !differ.is_empty() {
        return Err(Error::config(format!(
            "{} has {} of that name with another text: {}. Nothing was written; choose another folder, or replace \
             them with --overwrite",
            folder.display(),
            counted(differ.len(), "file"),
            listed(&differ, 5)
        ))
        .into());
    }
    for (path, text) in &to_write {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        atomic_write(path, text.as_bytes())?;
    }
    Ok(Copied {
        folder: folder.join("configs"),
        files: CONFIGS.iter().map(|(name, _)| *name).collect(),
        unchanged: CONFIGS.len() - to_write.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file below the repository's `configs`, relative to the repository.
    fn in_repository() -> Vec<String> {
        fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = format!("{prefix}/{}", path.file_name().unwrap().to_str().unwrap());
                if path.is_dir() {
                    collect(&path, &name, names);
                } else {
                    names.push(name);
                }
            }
        }
        let mut names = Vec::new();
        collect(&repository().join("configs"), "configs", &mut names);
        names.sort();
        names
    }

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn copied_files_are_those_of_the_repository() {
        let home = tempfile::tempdir().unwrap();
        let copied = copy(home.path(), Existing::Refuse).unwrap();
        assert_eq!(copied.files, in_repository());
        assert_eq!((copied.unchanged, copied.folder), (0, home.path().join("configs")));
        for name in &copied.files {
            let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
            assert_eq!(read(home.path()), read(&repository()), "{name}");
        }
        let again = copy(home.path(), Existing::Refuse).unwrap();
        assert_eq!(again.unchanged, again.files.len());
    }

    #[test]
    fn a_changed_file_is_replaced_only_if_asked() {
        let home = tempfile::tempdir().unwrap();
        let mine = home.path().join("configs/base/demo.toml");
        fs::create_dir_all(mine.parent().unwrap()).unwrap();
        fs::write(&mine, "mine").unwrap();
        let error = copy(home.path(), Existing::Refuse).unwrap_err().to_string();
        assert!(
            error.contains("configs/base/demo.toml") && error.contains("--overwrite"),
            "{error}"
        );
        assert_eq!(fs::read_dir(home.path().join("configs/base")).unwrap().count(), 1);
        let own = home.path().join("configs/own.toml");
        fs::write(&own, "own").unwrap();
        copy(home.path(), Existing::Overwrite).unwrap();
        assert_ne!(fs::read(&mine).unwrap(), b"mine");
        assert_eq!(fs::read(&own).unwrap(), b"own");
    }
}
