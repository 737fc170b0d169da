//! Image files on disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use sonotune_base::Error;

/// File extensions of the formats that can be decoded, lower case.
pub const IMAGE_EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"];

/// Images below a folder.
#[derive(Debug)]
pub struct Found {
    /// Sorted by path.
    pub images: Vec<PathBuf>,
    /// Other visible files.
    pub num_others: usize,
}

/// Whether the name has the extension of an image, in upper or lower case.
pub fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| IMAGE_EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
}

/// All images below `folder`, sorted by path. Hidden files and folders are skipped, links are
/// followed.
///
/// # Errors
/// If the folder is missing or part of it is unreadable, or links form a cycle.
pub fn find_images(folder: &Path) -> Result<Found> {
    require_folder(folder)?;
    let mut found = Found { images: Vec::new(), num_others: 0 };
    let visible = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry.path());
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(visible) {
        let entry = entry.map_err(|e| Error::data(e.to_string()))?;
        if entry.file_type().is_dir() {
            continue;
        }
        if is_image(entry.path()) {
            found.images.push(entry.into_path());
        } else {
            found.num_others += 1;
        }
    }
    found.images.sort();
    Ok(found)
}

/// Visible subfolders of `folder`, sorted by name, and the number of visible files next to them.
///
/// # Errors
/// If the folder is missing or unreadable.
pub fn sub_folders(folder: &Path) -> Result<(Vec<PathBuf>, usize)> {
    require_folder(folder)?;
    let unreadable = || Error::data(format!("cannot list the folder {}", folder.display()));
    let (mut folders, mut num_files) = (Vec::new(), 0);
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if is_hidden(&path) {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else {
            num_files += 1;
        }
    }
    folders.sort();
    Ok((folders, num_files))
}

fn require_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let what = if folder.exists() { "is not a folder" } else { "no such folder" };
    Err(Error::data(format!("{}: {what}", folder.display())).into())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// `file` relative to `base`, with `/` between its parts.
pub fn relative_text(file: &Path, base: &Path) -> String {
    let relative = file.strip_prefix(base).unwrap_or(file);
    relative.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_in_order_and_hidden_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/2.PNG", "b/1.jpeg", "a.tif", ".hidden.png", ".git/x.png", "notes.txt"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = find_images(dir.path()).unwrap();
        let names: Vec<_> = found.images.iter().map(|p| relative_text(p, dir.path())).collect();
        assert_eq!(
            (names, found.num_others),
            (vec!["a.tif".into(), "b/1.jpeg".into(), "b/2.PNG".to_owned()], 1)
        );
        let (folders, num_files) = sub_folders(dir.path()).unwrap();
        assert_eq!((folders.len(), num_files), (1, 2));
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = find_images(Path::new("no/such")).unwrap_err().to_string();
        assert_eq!(error, "no/such: no such folder");
    }
}
