//! Where files are read from and written to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use sonotune_base::Error;
use walkdir::WalkDir;

/// Places of a run, checked before anything is written.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) input: PathBuf,
    pub(crate) output: PathBuf,
}

impl Places {
    /// # Errors
    /// A config error if `input` does not exist, if one of the two is within the other, or if `output` has files
    /// and `overwrite` is false.
    pub(crate) fn check(input: &Path, output: &Path, overwrite: bool) -> Result<Self> {
        let shown = output.display();
        if !input.exists() {
            return Err(
                Error::config(format!("{}: no such file or folder", input.display())).into()
            );
        }
        let (from, to) = (real(input)?, real(output)?);
        if to.starts_with(&from) || from.starts_with(&to) {
            return Err(Error::config(format!(
                "{shown} and {} are within each other; files without identity must not be among the originals: \
                 choose another folder to write to",
                input.display()
            ))
            .into());
        }
        if output.exists() && !output.is_dir() {
            return Err(
                Error::config(format!("{shown} is not a folder; choose another one")).into()
            );
        }
        let is_used = output.is_dir() && fs::read_dir(output)?.next().is_some();
        if is_used && !overwrite {
            return Err(Error::config(format!(
                "{shown} has files; choose another folder, or replace those of the same name with --overwrite"
            ))
            .into());
        }
        Ok(Self { input: input.to_owned(), output: output.to_owned() })
    }

    /// That `path` is in neither folder: what it holds leads back to the patients.
    ///
    /// # Errors
    /// A config error that names the option.
    pub(crate) fn outside(&self, path: &Path, option: &str) -> Result<()> {
        let path_there = real(path)?;
        if path_there.starts_with(real(&self.output)?) {
            return Err(Error::config(format!(
                "{option} {}: it leads back to the patients, so that it must not be in {}, which is to be passed \
                 on; choose another place",
                path.display(),
                self.output.display()
            ))
            .into());
        }
        Ok(())
    }

    /// `output` with something appended to its name: a file beside the folder.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.output.components().as_path().as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }

    /// Every file of the input, in the order of their names.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(crate) fn files(&self) -> Result<Vec<Entry>> {
        let mut entries = vec![];
        for entry in WalkDir::new(&self.input).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read {}", self.input.display()))?;
            let kind = entry.file_type();
            // The input itself may be a link.
            let is_file = kind.is_file() || (entry.depth() == 0 && entry.path().is_file());
            if !kind.is_dir() && (entry.depth() > 0 || is_file) {
                entries.push(Entry { path: entry.path().to_owned(), is_file });
            }
        }
        Ok(entries)
    }
}

/// Something in the input that is not a folder.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    /// Links, pipes and devices are not.
    pub(crate) is_file: bool,
}

/// `path` without links and `..`; its last parts need not exist yet.
fn real(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut missing = vec![];
    for folder in path.ancestors() {
        if let Ok(known) = folder.canonicalize() {
            return Ok(missing.iter().rev().fold(known, |path, name| path.join(name)));
        }
        missing.push(
            folder.file_name().ok_or_else(|| anyhow!("{}: not a path", path.display()))?.to_owned(),
        );
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_within_the_other_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        fs::create_dir_all(input.join("a")).unwrap();
        std::os::unix::fs::symlink(&input, folder.path().join("link")).unwrap();
        for output in ["in", "in/new", "in/a/new/newer", "link/new", ".", "in/../in/b"] {
            let error = Places::check(&input, &folder.path().join(output), true).unwrap_err();
            assert!(error.to_string().contains("within each other"), "{output}: {error}");
        }
        let places = Places::check(&input, &folder.path().join("in2"), false).unwrap();
        assert!(places.outside(&folder.path().join("in2/salt"), "--salt").is_err());
        assert!(places.outside(&folder.path().join("in2.salt"), "--salt").is_ok());
        assert_eq!(places.beside(".salt"), folder.path().join("in2.salt"));
    }

    #[test]
    fn a_folder_with_files_is_not_written_to_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in"), folder.path().join("out"));
        for name in [&input, &output] {
            fs::create_dir(name).unwrap();
        }
        assert!(Places::check(&input, &output, false).is_ok());
        fs::write(output.join("x"), "").unwrap();
        let error = Places::check(&input, &output, false).unwrap_err().to_string();
        assert!(error.contains("--overwrite"), "{error}");
        assert!(Places::check(&input, &output, true).is_ok());
        let error = Places::check(&input, &output.join("x"), true).unwrap_err().to_string();
        assert!(error.contains("is not a folder"), "{error}");
        assert!(Places::check(&folder.path().join("none"), &output, true).is_err());
    }

    #[test]
    fn files_come_in_order_and_links_are_marked() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        fs::create_dir_all(input.join("b")).unwrap();
        for name in ["b/2", "a", "b/1"] {
            fs::write(input.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(input.join("a"), input.join("c")).unwrap();
        let places = Places::check(&input, &folder.path().join("out"), false).unwrap();
        let found = places.files().unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|e| (e.path.strip_prefix(&input).unwrap().to_str().unwrap(), e.is_file))
            .collect();
        assert_eq!(found, [("a", true), ("b/1", true), ("b/2", true), ("c", false)]);
    }
}
