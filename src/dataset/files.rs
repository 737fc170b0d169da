//! Image files on disk.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use crate::pixels::{Kind, has_ending, has_image_ending};
use sonotune_base::{
    Error,
    image_io::{format_name, other_kind},
};

/// Usual endings of DICOM files, lower case; many have none, or the last number of a UID.
const DICOM_EXTENSIONS: [&str; 3] = ["dcm", "dicom", "ima"];

/// Files and folders, in lower case, that systems, network disks and DICOM's discs have among those of a user.
const CLUTTER: [&str; 12] = [
    "__macosx",
    "@eadir",
    "@recycle",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "dicomdir",
];

/// Files below a folder, sorted by path.
#[derive(Debug, Default)]
pub struct Found {
    pub images: Vec<PathBuf>,
    /// Everything else, apart from [clutter](is_clutter).
    pub others: Vec<PathBuf>,
}

impl Found {
    /// What the other files are, for a folder without images.
    #[must_use]
    pub fn others_in_words(&self) -> Option<String> {
        let other = self.others.first()?;
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
        Some(match self.others.len() {
            1 => format!("there is one file with another ending, {name}{is}"),
            n => format!("there are {n} files with other endings, such as {name}{is}"),
        })
    }
}

/// Whether the name has the extension of an image or of DICOM, in upper or lower case.
pub fn is_image(path: &Path) -> bool {
    has_image_ending(path) || has_ending(path, &DICOM_EXTENSIONS)
}

/// Whether it is DICOM under a name that does not say so: without an ending, or with a number as devices write
/// it.
fn is_nameless_dicom(path: &Path) -> bool {
    let is_number = |ending: &OsStr| ending.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    path.extension().is_none_or(is_number) && Kind::of(path) == Kind::Dicom
}

/// Whether a file or folder is hidden, or was left by the system rather than the user: `__MACOSX`,
/// `@eaDir`, `Thumbs.db`; or is a disc's table of contents, a `DICOMDIR`.
#[must_use]
pub fn is_clutter(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        name.as_encoded_bytes().starts_with(b".")
            || CLUTTER.iter().any(|clutter| name.eq_ignore_ascii_case(clutter))
    })
}

/// All files below `folder`. [Clutter](is_clutter) is skipped, links are followed.
///
/// # Errors
/// If the folder is missing or part of it is unreadable, or links form a cycle.
pub fn find_images(folder: &Path) -> Result<Found> {
    require_folder(folder)?;
    let mut found = Found::default();
    let visible = |entry: &DirEntry| entry.depth() == 0 || !is_clutter(entry.path());
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(visible) {
        let entry = entry.map_err(|e| Error::data(e.to_string()))?;
        if entry.file_type().is_dir() {
            continue;
        }
        if is_image(entry.path()) || is_nameless_dicom(entry.path()) {
            found.images.push(entry.into_path());
        } else {
            found.others.push(entry.into_path());
        }
    }
    found.images.sort();
    found.others.sort();
    Ok(found)
}

/// Subfolders of `folder` and the files next to them, sorted by name, without [clutter](is_clutter).
///
/// # Errors
/// If the folder is missing or unreadable.
pub fn sub_folders(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    require_folder(folder)?;
    let unreadable = || Error::data(format!("cannot list the folder {}", folder.display()));
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if is_clutter(&path) {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else {
            files.push(path);
        }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

fn require_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let what = if folder.exists() { "is not a folder" } else { "no such folder" };
    Err(Error::data(format!("{}: {what}", folder.display())).into())
}

/// Files by their ending in lower case: `.gif`, `.nii.gz`; `None` for those without one.
#[must_use]
pub fn by_ending(files: &[PathBuf]) -> BTreeMap<Option<String>, Vec<&Path>> {
    let mut endings: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in files {
        endings.entry(ending(file)).or_default().push(&**file);
    }
    endings
}

fn ending(file: &Path) -> Option<String> {
    let last = file.extension()?.to_string_lossy().to_lowercase();
    let inner = Path::new(file.file_stem()?).extension().filter(|_| last == "gz");
    let inner = inner.map(|inner| format!(".{}", inner.to_string_lossy().to_lowercase()));
    Some(format!("{}.{last}", inner.unwrap_or_default()))
}

/// `3 .dcm, 1 without an ending`: how many files have which ending.
#[must_use]
pub fn endings(files: &[PathBuf]) -> String {
    let count = |(ending, files): (Option<String>, Vec<&Path>)| {
        format!("{} {}", files.len(), ending.as_deref().unwrap_or("without an ending"))
    };
    by_ending(files).into_iter().map(count).collect::<Vec<_>>().join(", ")
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
    fn images_are_found_in_order_and_clutter_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let images = ["a.tif", "b/1.jpeg", "b/2.PNG", "b/3.jfif", "b/4.JPE", "b/5.dib"];
        let others = ["notes", "notes.txt", "scan.NII.gz", "v.gz"];
        let clutter = [
            ".hidden.png",
            ".git/x.png",
            "b/.ipynb_checkpoints/1-checkpoint.png",
            "__MACOSX/b/._1.png",
            "@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
            "b/Thumbs.db",
            "b/desktop.ini",
        ];
        for name in images.iter().chain(&others).chain(&clutter) {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = find_images(dir.path()).unwrap();
        let names = |files: &[PathBuf]| -> Vec<String> {
            files.iter().map(|p| relative_text(p, dir.path())).collect()
        };
        assert_eq!(
            (names(&found.images), names(&found.others)),
            (images.map(str::to_owned).into(), others.map(str::to_owned).into())
        );
        assert_eq!(endings(&found.others), "1 without an ending, 1 .gz, 1 .nii.gz, 1 .txt");
        let (folders, files) = sub_folders(dir.path()).unwrap();
        assert_eq!((names(&folders), files.len()), (vec!["b".to_owned()], 5));
    }

    #[test]
    fn the_files_of_a_folder_without_images_are_told_by_content() {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        png.resize(40, 1);
        let cases = [
            (
                vec!["b.pdf", "a.pdf"],
                &b"%PDF-1.7".to_vec(),
                "2 files with other endings, such as a.pdf: a PDF",
            ),
            (
                vec!["scan"],
                &b"PK\x03\x04".to_vec(),
                "one file with another ending, scan: a ZIP archive; unpack",
            ),
            (vec!["a.img"], &png, "a.img: a PNG; end its name in .png"),
            (vec!["notes.txt"], &b"hello".to_vec(), "one file with another ending, notes.txt"),
        ];
        for (names, bytes, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            for name in names {
                std::fs::write(dir.path().join(name), bytes).unwrap();
            }
            let error = crate::Dataset::from_images(dir.path(), crate::FrameChoice::All)
                .unwrap_err()
                .to_string();
            assert!(error.contains("no images; there ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = find_images(Path::new("no/such")).unwrap_err().to_string();
        assert_eq!(error, "no/such: no such folder");
    }
}
