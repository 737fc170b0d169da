//! Image files on disk.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use sonotune_base::{
    Error,
    image_io::{format_name, other_kind},
};

/// File extensions of the formats that can be decoded, lower case.
pub const IMAGE_EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp"];

/// Images below a folder.
#[derive(Debug)]
pub struct Found {
    /// Sorted by path.
    pub images: Vec<PathBuf>,
    /// Other visible files.
    pub num_others: usize,
    /// The first of them by path.
    pub other: Option<PathBuf>,
}

impl Found {
    /// What the other files are, for a folder without images.
    #[must_use]
    pub fn others_in_words(&self) -> Option<String> {
        let other = self.other.as_deref()?;
        let name = other.file_name().unwrap_or_default().to_string_lossy();
        let mut head = Vec::new();
        let file = File::open(other).and_then(|file| file.take(4096).read_to_end(&mut head));
        let is = match (file.ok().and_then(|_| other_kind(&head)), format_name(&head)) {
            (Some(kind), _) => format!(": {kind}"),
            (None, Some(format)) => {
                let ending = format.to_lowercase();
                format!(": a {format}; end its name in .{ending}, so that it is found")
            }
            (None, None) => String::new(),
        };
        Some(match self.num_others {
            1 => format!("there is one file with another ending, {name}{is}"),
            n => format!("there are {n} files with other endings, such as {name}{is}"),
        })
    }
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
    let mut found = Found { images: Vec::new(), num_others: 0, other: None };
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
            if found.other.as_deref().is_none_or(|other| entry.path() < other) {
                found.other = Some(entry.into_path());
            }
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
    fn the_files_of_a_folder_without_images_are_told_by_content() {
        let mut dicom = vec![0; 128];
        dicom.extend(b"DICM");
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        png.resize(40, 1);
        let cases = [
            (
                vec!["b.dcm", "a.dcm"],
                &dicom,
                "2 files with other endings, such as a.dcm: a DICOM file",
            ),
            (vec!["scan"], &dicom, "one file with another ending, scan: a DICOM file; export"),
            (vec!["a.img"], &png, "a.img: a PNG; end its name in .png"),
            (vec!["notes.txt"], &b"hello".to_vec(), "one file with another ending, notes.txt"),
        ];
        for (names, bytes, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            for name in names {
                std::fs::write(dir.path().join(name), bytes).unwrap();
            }
            let error = crate::Dataset::from_images(dir.path()).unwrap_err().to_string();
            assert!(error.contains("no images; there ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = find_images(Path::new("no/such")).unwrap_err().to_string();
        assert_eq!(error, "no/such: no such folder");
    }
}
