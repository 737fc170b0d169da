//! Which images have which masks, by their names.

use std::collections::HashMap;

use anyhow::Result;
use sonotune_base::{Error, words::listed};

use crate::names;

/// Masks without an image, as a share of all, that may be there: more means that the names were misunderstood.
const MAX_ORPHANS: f64 = 0.1;

/// An image with its masks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) path: String,
    pub(crate) masks: Vec<String>,
}

/// The images of a folder, with their masks if there are any.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// In the order of their paths.
    pub(crate) pictures: Vec<Picture>,
    /// Masks that belong to no image.
    pub(crate) orphans: Vec<String>,
    /// Whether masks belong to the image with the same number, since their names differ otherwise.
    pub(crate) by_number: bool,
}

/// Pairs the files; if no annotation finds an image, all of them are images.
///
/// # Errors
/// Kind data: many annotations find no image, or several images share the name of an annotation.
pub(crate) fn pair(files: &[String]) -> Result<Pairs> {
    let (masks, images): (Vec<&String>, Vec<&String>) =
        files.iter().partition(|path| names::says_mask(path));
    if masks.is_empty() || images.is_empty() {
        return Ok(Pairs {
            pictures: files.iter().map(|path| picture(path)).collect(),
            ..Pairs::default()
        });
    }
    let by_name = join(&images, &masks, |path, is_mask| Some(names::key(path, is_mask)));
    let by_number = join(&images, &masks, |path, _| names::number_key(path));
    let few = |pairs: &Pairs| pairs.orphans.len() as f64 <= MAX_ORPHANS * masks.len() as f64;
    if few(&by_name) {
        return Ok(by_name);
    }
    if few(&by_number) && !is_ambiguous(&by_number) {
        return Ok(Pairs { by_number: true, ..by_number });
    }
    if by_name.orphans.len() == masks.len() {
        return Ok(Pairs {
            pictures: files.iter().map(|path| picture(path)).collect(),
            ..Pairs::default()
        });
    }
    Err(Error::data(format!(
        "{} of {} files that look like masks find no image of the same name, such as {}; rename them, or describe \
         the folder by a spec (docs/datasets.md) and use `sonotune data convert`",
        by_name.orphans.len(),
        masks.len(),
        listed(&by_name.orphans, 2)
    ))
    .into())
}

fn picture(path: &str) -> Picture {
    Picture { path: path.to_owned(), masks: Vec::new() }
}

/// Numbers pair a mask with one image only.
fn is_ambiguous(pairs: &Pairs) -> bool {
    pairs.pictures.iter().any(|picture| picture.masks.len() > 1)
}

fn join(
    images: &[&String],
    masks: &[&String],
    key: impl Fn(&str, bool) -> Option<String>,
) -> Pairs {
    let mut pictures: Vec<Picture> = images.iter().map(|path| picture(path)).collect();
    let mut of_key: HashMap<String, usize> = HashMap::new();
    for (index, image) in images.iter().enumerate() {
        if let Some(key) = key(image, false) {
            of_key.entry(key).or_insert(index);
        }
    }
    let mut orphans = Vec::new();
    for mask in masks {
        match key(mask, true).and_then(|key| of_key.get(&key)) {
            Some(&index) => pictures[index].masks.push((*mask).clone()),
            None => orphans.push((*mask).clone()),
        }
    }
    Pairs { pictures, orphans, by_number: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|&path| path.to_owned()).collect()
    }

    #[test]
    fn several_masks_of_an_image_are_its_own() {
        let pairs =
            pair(&files(&["a/x (1).png", "a/x (1)_mask.png", "a/x (1)_mask_1.png", "a/x (2).png"]))
                .unwrap();
        assert_eq!(pairs.pictures[0].masks, ["a/x (1)_mask.png", "a/x (1)_mask_1.png"]);
        assert!(pairs.pictures[1].masks.is_empty());
        assert!(!pairs.by_number);
    }

    #[test]
    fn numbers_pair_names_that_share_nothing_else() {
        let pairs = pair(&files(&[
            "Hospital/Test_Image_1.png",
            "Hospital/Test_Image_12.png",
            "Hospital/mask_1.png",
            "Hospital/mask_12.png",
        ]))
        .unwrap();
        assert!(pairs.by_number);
        assert_eq!(pairs.pictures[1].masks, ["Hospital/mask_12.png"]);
    }

    #[test]
    fn a_word_for_masks_in_a_name_of_images_is_no_mask() {
        let pairs = pair(&files(&["labels/a.png", "labels/b.png", "other/c.png"])).unwrap();
        assert_eq!(pairs.pictures.len(), 3);
        assert!(pairs.pictures.iter().all(|picture| picture.masks.is_empty()));
    }

    #[test]
    fn masks_of_which_half_find_an_image_are_an_error() {
        let error = pair(&files(&["a.png", "a_mask.png", "b_mask.png"])).unwrap_err();
        assert!(error.to_string().contains("such as b_mask.png"), "{error}");
    }
}
