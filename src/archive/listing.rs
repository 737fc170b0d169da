//! What a folder holds, wherever its links lead.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Result;
use sonotune_base::Error;
use walkdir::{DirEntry, WalkDir};

/// The files of a folder, with links followed.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Path below the folder and size in bytes of each file, sorted by path. A link that leads nowhere is
    /// among them, with no bytes: reading it says why that fails.
    pub files: Vec<(PathBuf, u64)>,
    /// Where links to folders lead.
    pub linked: Vec<PathBuf>,
    /// Number of links to a folder that holds them, which are not followed, and of what is neither a
    /// file nor a folder.
    pub others: u64,
}

impl Listing {
    /// Lists `folder`, except what is in `skip`.
    ///
    /// # Errors
    /// When it is not a folder or part of it cannot be read; names it.
    pub fn of(folder: &Path, skip: Option<&Path>) -> Result<Self> {
        let refuse = |error: &dyn std::fmt::Display| {
            Error::data(format!("cannot read {}: {error}", folder.display()))
        };
        let root = fs::canonicalize(folder).map_err(|e| refuse(&e))?;
        let skip = skip.and_then(|skip| fs::canonicalize(skip).ok());
        let mut listing = Self::default();
        let mut walk = WalkDir::new(&root).follow_links(true).into_iter();
        while let Some(entry) = walk.next() {
            let (path, len) = match entry {
                Ok(entry) if entry.file_type().is_dir() => {
                    if !listing.enters(&entry, &root, skip.as_deref()).map_err(|e| refuse(&e))? {
                        walk.skip_current_dir();
                    }
                    continue;
                }
                Ok(entry) if entry.file_type().is_file() => {
                    let len = entry.metadata().map_err(|e| refuse(&e))?.len();
                    (entry.into_path(), len)
                }
                Err(error) if error.loop_ancestor().is_none() => {
                    (dangling(&error).ok_or_else(|| refuse(&error))?, 0)
                }
                Ok(_) | Err(_) => {
                    listing.others += 1;
                    continue;
                }
            };
            listing.files.push((path.strip_prefix(&root)?.to_owned(), len));
        }
        listing.files.sort();
        Ok(listing)
    }

    /// Whether a folder is listed: not if it is left out, or a link to a folder around `root`.
    fn enters(&mut self, entry: &DirEntry, root: &Path, skip: Option<&Path>) -> io::Result<bool> {
        let real = fs::canonicalize(entry.path())?;
        if skip == Some(&*real) {
            return Ok(false);
        }
        if entry.path_is_symlink() && entry.depth() > 0 {
            if root.starts_with(&real) {
                self.others += 1;
                return Ok(false);
            }
            self.linked.push(real);
        }
        Ok(true)
    }
}

/// The link that leads nowhere, or to itself, if that is the error.
fn dangling(error: &walkdir::Error) -> Option<PathBuf> {
    let path = error.path().filter(|path| path.is_symlink())?;
    fs::metadata(path).is_err().then(|| path.to_owned())
}

/// Why the file at `path` could not be read.
#[must_use]
pub fn reason(path: &Path, error: &io::Error) -> String {
    match fs::read_link(path) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => {
            format!("is a link to {}, which does not exist", target.display())
        }
        _ => error.to_string(),
    }
}
