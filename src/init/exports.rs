//! Annotation files: COCO, and those of tools that need to export COCO first.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sonotune_base::{Error, words::listed};
use sonotune_coco::{CocoFile, layout};
use sonotune_dataset::{Split, exports::Export};

use crate::{listing::Listing, names};

/// JSON files that are opened at most, the largest first: a tool may write one for each image.
const MAX_OPENED: usize = 20;

/// A COCO file with its images.
#[derive(Debug)]
pub(crate) struct CocoExport {
    pub(crate) path: PathBuf,
    /// What its `file_name`s are relative to.
    pub(crate) images: PathBuf,
    /// The split that its name or its folder says.
    pub(crate) split: Option<Split>,
    pub(crate) file: CocoFile,
}

/// The annotation files of a folder.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    pub(crate) coco: Vec<CocoExport>,
    /// Files of other tools, with what they are.
    pub(crate) foreign: Vec<(String, Export)>,
}

/// Opens the annotation files of `listing`.
///
/// # Errors
/// Kind data: a COCO file is damaged, or its images are not there.
pub(crate) fn find(listing: &Listing) -> Result<Annotations> {
    let mut files: Vec<(u64, &str)> = listing
        .with_ending("json")
        .map(|name| (fs::metadata(listing.path(name)).map_or(0, |data| data.len()), name))
        .collect();
    files.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let mut found = Annotations::default();
    for (_, name) in files.into_iter().take(MAX_OPENED) {
        let path = listing.path(name);
        let bytes = fs::read(&path).with_context(|| Error::data(path.display().to_string()))?;
        match Export::of(&String::from_utf8_lossy(&bytes)) {
            Some(Export::Coco) => found.coco.push(open(&path, &bytes, names_split(name))?),
            Some(other) => found.foreign.push((name.to_owned(), other)),
            None => {}
        }
    }
    for ending in ["xml", "txt", "csv"] {
        // One tells what all are.
        if let Some(name) = listing.with_ending(ending).find(|name| !name.contains("README")) {
            let head = fs::read(listing.path(name)).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..head.len().min(1 << 16)]).into_owned();
            let export = Export::of(&head);
            found.foreign.extend(export.map(|export| (name.to_owned(), export)));
        }
    }
    found.coco.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// A COCO file by its path.
///
/// # Errors
/// Kind data: it is damaged or no COCO file, or its images are not there.
pub(crate) fn open_file(path: &Path) -> Result<CocoExport> {
    let bytes = fs::read(path).with_context(|| Error::data(path.display().to_string()))?;
    match Export::of(&String::from_utf8_lossy(&bytes)) {
        Some(Export::Coco) => open(path, &bytes, None),
        Some(other) => Err(foreign(&path.display().to_string(), other).into()),
        None => Err(Error::data(format!(
            "{}: is not a file of COCO annotations (a JSON file with `images` and `annotations`); give such a file or a \
             folder",
            path.display()
        ))
        .into()),
    }
}

/// What to do about a file of another tool.
pub(crate) fn foreign(name: &str, export: Export) -> Error {
    let how = export.to_coco().map_or_else(
        || "describe it by a spec (docs/datasets.md) and use `sonotune data convert`".to_owned(),
        str::to_owned,
    );
    Error::data(format!("{name}: is {}, which is not read here; {how}", export.name()))
}

fn open(path: &Path, bytes: &[u8], split: Option<Split>) -> Result<CocoExport> {
    let file = CocoFile::from_slice(bytes, path)?;
    if file.images.is_empty() {
        return Err(Error::data(format!("{}: lists no images", path.display())).into());
    }
    let images = layout::find_images(path, &file).with_context(|| {
        Error::data(format!(
            "{}: its images, such as {}, are not beside it",
            path.display(),
            file.images[0].file_name
        ))
    })?;
    Ok(CocoExport { path: path.to_owned(), images, split, file })
}

/// The split that a COCO file is named after: `train.json`, `instances_val2017.json`, `valid/_annotations.coco.json`.
fn names_split(name: &str) -> Option<Split> {
    let (_, stem) = names::parts(name);
    let words = stem.split(|c: char| !c.is_alphabetic());
    words.filter_map(names::split_of).next().or_else(|| names::split_of_path(name))
}

/// The files as one for each split, or the only one.
///
/// # Errors
/// Kind data: several files for one split, or that name none.
pub(crate) fn by_split(exports: &[CocoExport]) -> Result<()> {
    let of = |split| exports.iter().filter(move |export| export.split == split);
    let names = |found: Vec<&CocoExport>| {
        let paths: Vec<String> =
            found.iter().map(|export| export.path.display().to_string()).collect();
        listed(paths, 4)
    };
    let unnamed: Vec<_> = of(None).collect();
    if exports.len() > 1 && !unnamed.is_empty() {
        return Err(Error::data(format!(
            "{}: several COCO files, and which splits they are is not in their names (train, val, test); rename them, \
             give one of them in place of the folder, or join them with `sonotune data merge`",
            names(exports.iter().collect())
        ))
        .into());
    }
    for split in Split::ALL {
        let same: Vec<_> = of(Some(split)).collect();
        if same.len() > 1 {
            return Err(Error::data(format!(
                "{}: {} COCO files are for {split}; give one in place of the folder, or join them with `sonotune data \
                 merge`",
                names(same),
                of(Some(split)).count()
            ))
            .into());
        }
    }
    let has_train = of(Some(Split::Train)).next().is_some();
    if exports.len() > 1 && !has_train {
        return Err(Error::data(format!(
            "{}: none of these COCO files is for training; name it train.json, or give one file in place of the folder",
            names(exports.iter().collect())
        ))
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_exports_say_their_split() {
        for (name, split) in [
            ("train/_annotations.coco.json", Some(Split::Train)),
            ("valid/_annotations.coco.json", Some(Split::Val)),
            ("annotations/instances_val2017.json", Some(Split::Val)),
            ("annotations/test.json", Some(Split::Test)),
            ("annotations/instances_default.json", None),
            ("result.json", None),
        ] {
            assert_eq!(names_split(name), split, "{name}");
        }
    }
}
