//! Folders that are classes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use sonotune_base::{Error, words::listed};
use sonotune_dataset::Split;

use crate::{names, pairs::Picture};

/// More folders than this are patients or examinations rather than classes.
const MAX_CLASSES: usize = 50;
/// Fewer images of a folder than this do not make it a class.
const MIN_IMAGES: usize = 2;

/// What the folders of the images say.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    /// Names of the classes, sorted; fewer than two: the folders are none.
    pub(crate) classes: Vec<String>,
    /// The class of each image, if there are classes.
    pub(crate) class_of: Vec<usize>,
    /// The split that a folder names.
    pub(crate) split_of: Vec<Option<Split>>,
    /// The only folder of images, when it is one: one class alone is none.
    pub(crate) single: Option<String>,
    /// What is left of the folders: those of patients, for example.
    pub(crate) inner: Vec<String>,
}

/// Reads the folders of `pictures`: outer ones that all share, and those of splits, images and masks, are not classes.
///
/// # Errors
/// Kind data: images are beside folders of classes, so that theirs is not known.
pub(crate) fn of(pictures: &[Picture]) -> Result<Folders> {
    let split_of = pictures.iter().map(|picture| names::split_of_path(&picture.path)).collect();
    let mut paths: Vec<Vec<String>> = pictures.iter().map(plain_folders).collect();
    strip_common(&mut paths);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for first in paths.iter().filter_map(|path| path.first()) {
        *counts.entry(first).or_default() += 1;
    }
    let inner =
        |skip: usize| paths.iter().map(|path| path[skip.min(path.len())..].join("/")).collect();
    let single = single_folder(pictures);
    let is_plausible = counts.len() > 1
        && counts.len() <= MAX_CLASSES
        && counts.values().all(|&count| count >= MIN_IMAGES)
        && !are_patients(counts.keys().copied());
    if !is_plausible {
        return Ok(Folders { split_of, single, inner: inner(0), ..Folders::default() });
    }
    let beside: Vec<&str> = pictures
        .iter()
        .zip(&paths)
        .filter(|(_, path)| path.is_empty())
        .map(|(picture, _)| &*picture.path)
        .collect();
    if !beside.is_empty() {
        return Err(Error::data(format!(
            "{} of {} images are beside the folders {}, so their class is not known, such as {}; move them into a \
             folder of their class, or out of the folder",
            beside.len(),
            pictures.len(),
            listed(counts.keys(), 4),
            beside[0]
        ))
        .into());
    }
    let classes: Vec<String> = counts.keys().map(|&name| name.to_owned()).collect();
    refuse_unusable(&classes)?;
    let index = |path: &Vec<String>| classes.binary_search(&path[0]).unwrap_or_default();
    let class_of = paths.iter().map(index).collect();
    Ok(Folders { class_of, split_of, single, inner: inner(1), classes })
}

/// The folders without splits, images and masks.
fn plain_folders(picture: &Picture) -> Vec<String> {
    let (folders, _) = names::parts(&picture.path);
    let folders = folders.into_iter().filter(|folder| names::split_of(folder).is_none());
    folders.map(names::plain_folder).filter(|folder| !folder.is_empty()).collect()
}

/// Removes outer folders that are the same for all images.
fn strip_common(paths: &mut [Vec<String>]) {
    while let Some(first) = paths.first().and_then(|path| path.first()).cloned() {
        if !paths.iter().all(|path| path.first() == Some(&first)) {
            return;
        }
        for path in &mut *paths {
            path.remove(0);
        }
    }
}

fn single_folder(pictures: &[Picture]) -> Option<String> {
    let last = pictures.iter().map(|picture| plain_folders(picture).last().cloned());
    let all: BTreeSet<Option<String>> = last.collect();
    if all.len() == 1 { all.into_iter().next().flatten() } else { None }
}

/// Whether most names are numbers, or words for patients with one.
fn are_patients<'a>(folders: impl Iterator<Item = &'a str>) -> bool {
    let (mut numbered, mut all) = (0, 0);
    for name in folders {
        all += 1;
        let is_number = name.chars().all(|c| c.is_ascii_digit());
        // Two folders `0` and `1` are classes.
        let is_long = is_number && name.len() > 1;
        numbered += usize::from(is_long || names::named_patient(&format!("{name}/x")).is_some());
    }
    2 * numbered > all
}

/// Lists of images separate path and label by a tab, and several labels by commas.
fn refuse_unusable(classes: &[String]) -> Result<()> {
    let is_unusable =
        |name: &&String| name.contains([',', ';', '"', '\'']) || name.trim() != name.as_str();
    match classes.iter().find(is_unusable) {
        None => Ok(()),
        Some(name) => Err(Error::data(format!(
            "the folder \"{name}\" would be a class, but names of classes may not have commas, semicolons, quotes or \
             blanks at their ends; rename it"
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(paths: &[&str]) -> Vec<Picture> {
        paths.iter().map(|&path| Picture { path: path.to_owned(), masks: Vec::new() }).collect()
    }

    #[test]
    fn classes_are_found_below_wrappers_splits_and_folders_of_images() {
        for paths in [
            [
                "Set/benign/images/1.png",
                "Set/benign/images/2.png",
                "Set/malignant/images/3.png",
                "Set/malignant/images/4.png",
            ],
            [
                "train/benign/1.png",
                "test/benign/2.png",
                "train/malignant/3.png",
                "val/malignant/4.png",
            ],
            ["benign/a/1.png", "benign/a/2.png", "malignant/b/3.png", "malignant/4.png"],
        ] {
            let folders = of(&pictures(&paths)).unwrap();
            assert_eq!(folders.classes, ["benign", "malignant"], "{paths:?}");
            assert_eq!(folders.class_of, [0, 0, 1, 1]);
        }
        let folders =
            of(&pictures(&["train/a/1.png", "valid/a/2.png", "test/b/3.png", "b/4.png"])).unwrap();
        assert_eq!(
            folders.split_of,
            [Some(Split::Train), Some(Split::Val), Some(Split::Test), None]
        );
    }

    #[test]
    fn folders_of_patients_are_no_classes() {
        for paths in [
            ["patient1/a.png", "patient1/b.png", "patient2/a.png", "patient2/b.png"],
            ["001/a.png", "001/b.png", "002/a.png", "002/b.png"],
        ] {
            let folders = of(&pictures(&paths)).unwrap();
            assert!(folders.classes.is_empty(), "{paths:?}");
            assert_eq!(folders.inner[3], paths[3].split('/').next().unwrap());
        }
        assert_eq!(
            of(&pictures(&["0/a.png", "0/b.png", "1/a.png", "1/b.png"])).unwrap().classes,
            ["0", "1"]
        );
    }

    #[test]
    fn one_folder_is_no_class_and_says_its_name() {
        let folders = of(&pictures(&["x/benign/1.png", "x/benign/2.png"])).unwrap();
        assert!(folders.classes.is_empty());
        assert_eq!(folders.single.as_deref(), Some("benign"));
    }

    #[test]
    fn an_image_beside_the_classes_and_a_comma_in_a_name_are_errors() {
        let error =
            of(&pictures(&["a/1.png", "a/2.png", "b/3.png", "b/4.png", "5.png"])).unwrap_err();
        assert!(error.to_string().contains("such as 5.png"), "{error}");
        let error = of(&pictures(&["a,b/1.png", "a,b/2.png", "c/3.png", "c/4.png"])).unwrap_err();
        assert!(error.to_string().contains("\"a,b\""), "{error}");
    }
}
