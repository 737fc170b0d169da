//! Locates the images of a COCO file: in `SET/images`, if the file is `SET/annotations/x.json`.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use sonotune_base::Error;
use sonotune_dataset::{
    image_names::{Located, resolve},
    pixels::{ImageFile, Kind},
};

use super::{CocoFile, ImageRecord, output::folder_of};

/// Folder that the `file_name`s of the COCO file at `path` are relative to: `images` beside the
/// folder `annotations` that contains the file, else `images` beside the file.
///
/// # Errors
/// If there is no such folder.
pub fn images_folder(path: &Path) -> Result<PathBuf> {
    let folder = folder_of(path);
    let mut tried = Vec::new();
    if absolute(folder)?.ends_with("annotations") {
        tried.push(folder_above(folder).join("images"));
    }
    tried.push(folder.join("images"));
    if let Some(found) = tried.iter().find(|folder| folder.is_dir()) {
        return Ok(found.clone());
    }
    let message = format!(
        "{}: its images must be in {}, and there is no such folder",
        path.display(),
        tried[0].display()
    );
    Err(Error::data(message).into())
}

/// Folder that the `file_name`s of `file`, read from `path`, are relative to: [`images_folder`], or
/// for a merged file its own folder or the one above, whichever contains the first image.
///
/// # Errors
/// If there is no such folder.
pub fn find_images(path: &Path, file: &CocoFile) -> Result<PathBuf> {
    let regular = images_folder(path);
    let Some(first) = file.images.first() else { return regular };
    let own = folder_of(path);
    let mut candidates: Vec<PathBuf> = regular.as_ref().ok().into_iter().cloned().collect();
    candidates.extend([own.to_owned(), folder_above(own)]);
    let has_first = |folder: &PathBuf| {
        let mut file = folder.join(&first.file_name);
        drop(resolve(&mut [&mut file], folder));
        file.is_file()
    };
    let found = candidates.into_iter().find(has_first);
    found.map_or(regular, Ok)
}

/// The folder of [`find_images`], and the files of the images there.
///
/// # Errors
/// If there is no such folder.
pub fn locate(path: &Path, file: &CocoFile) -> Result<(PathBuf, Located)> {
    let folder = find_images(path, file)?;
    let names = file.images.iter().map(|image| image.file_name.as_str());
    let located = Located::of(names, &folder, path);
    Ok((folder, located))
}

/// What the pixels of each image of `file` are read from; `files` are the files of its images. The key `frame`
/// counts if the file may have several frames; for an ordinary image it says where that comes from.
#[must_use]
pub fn image_files(file: &CocoFile, files: Vec<PathBuf>) -> Vec<ImageFile> {
    let image = |(path, image): (PathBuf, &ImageRecord)| {
        let frame = image.provenance.frame.filter(|_| Kind::of_named(&path) != Kind::Image);
        ImageFile { path, frame }
    };
    files.into_iter().zip(&file.images).map(image).collect()
}

/// Name of the dataset whose images are in the folder `images`, if its file does not say: the name
/// of the parent of a folder called `images`, else the folder's own name.
#[must_use]
pub fn dataset_name(images: &Path) -> Option<String> {
    let folder = absolute(images).ok()?;
    let named = if folder.ends_with("images") { folder.parent()? } else { &folder };
    Some(named.file_name()?.to_str()?.to_owned())
}

/// `folder` relative to `root`, with `/` and a trailing `/` unless empty; `None` if it is
/// elsewhere.
///
/// # Errors
/// If the current folder is unknown.
pub fn prefix_below(folder: &Path, root: &Path) -> Result<Option<String>> {
    let (folder, root) = (absolute(folder)?, absolute(root)?);
    let Ok(relative) = folder.strip_prefix(&root) else { return Ok(None) };
    let mut prefix = String::new();
    for part in relative {
        let name = part.to_str().ok_or_else(|| {
            Error::data(format!("{}: its name is not valid Unicode", folder.display()))
        })?;
        prefix.push_str(name);
        prefix.push('/');
    }
    Ok(Some(prefix))
}

fn folder_above(folder: &Path) -> PathBuf {
    match folder.components().next_back() {
        Some(Component::Normal(_)) => folder_of(folder).to_owned(),
        _ => folder.join(".."),
    }
}

/// The absolute path without `.` and `..`, with links followed as far as the path exists.
fn absolute(path: &Path) -> Result<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    // A file to be written in an existing folder.
    match (plain.parent().and_then(|p| p.canonicalize().ok()), plain.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Ok(plain),
    }
}
