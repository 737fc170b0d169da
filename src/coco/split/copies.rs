//! Images that are in a file twice, under different names.

use std::{collections::HashMap, path::Path};

use anyhow::Result;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_base::image_io::DecodeOptions;
use sonotune_dataset::{
    pixels::{ImageFile, Reader},
    sha256,
};

use crate::{
    CocoFile,
    duplicates::{DuplicateOptions, Print, components},
    layout::{self, image_files},
};

/// What to do about images that are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Copies {
    /// Images are not opened.
    Ignore,
    /// Identical files in different splits are reported.
    Report,
    /// Images with the same pixels stay together.
    Identical,
    /// Images that look alike also stay together, as [`duplicates`](crate::duplicates) finds them.
    Near,
}

/// Lists of images, by index, of which all are the same.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) together: Vec<Vec<usize>>,
    /// Why an image was compared with no other.
    pub(super) unreadable: Vec<String>,
}

/// Finds the copies among the images of `file`, which was read from `path`.
///
/// # Errors
/// If the folder of the images is not there, and the images are to be decoded.
pub(super) fn find(file: &CocoFile, path: &Path, copies: Copies) -> Result<Found> {
    let distance = match copies {
        Copies::Ignore => return Ok(Found::default()),
        Copies::Report => {
            let Ok((_, located)) = layout::locate(path, file) else { return Ok(Found::default()) };
            let images: Vec<ImageFile> = image_files(file, located.files);
            return Ok(Found { together: equal_files(&images), unreadable: Vec::new() });
        }
        Copies::Identical => None,
        Copies::Near => Some(DuplicateOptions::default().distance),
    };
    let images = image_files(file, layout::locate(path, file)?.1.files);
    let max_pixels = DuplicateOptions::default().max_pixels;
    let reader = Reader::default();
    let print = |file: &ImageFile| {
        let options = DecodeOptions { exif: false, max_pixels };
        let image = reader.decode(&file.path, file.frame, options);
        image.map(|image| Print::of(&image.into_grey_if_equal()))
    };
    // One thread for all frames of a clip, which are decoded in their order.
    let printed: Vec<Result<Print>> = images
        .par_chunk_by(|a, b| a.path == b.path)
        .flat_map_iter(|frames| frames.iter().map(print))
        .collect();
    let (mut compared, mut prints, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for (i, print) in printed.into_iter().enumerate() {
        match print {
            Ok(print) => {
                compared.push(i);
                prints.push(print);
            }
            Err(error) => unreadable.push(format!("{error:#}")),
        }
    }
    let together = match distance {
        Some(distance) => gathered(components(&prints, distance).into_iter().zip(compared)),
        None => gathered(prints.into_iter().map(|print| print.pixels).zip(compared)),
    };
    Ok(Found { together, unreadable })
}

/// Files with equal bytes, of which the same frame is meant. Only those of equal size are read.
fn equal_files(images: &[ImageFile]) -> Vec<Vec<usize>> {
    let size = |file: &ImageFile| Some((std::fs::metadata(&file.path).ok()?.len(), file.frame));
    let sizes: Vec<_> = images.par_iter().map(size).collect();
    let sizes = sizes.into_iter().enumerate().filter_map(|(i, size)| Some((size?, i)));
    let candidates = gathered(sizes).concat();
    let hashed: Vec<_> = candidates
        .par_iter()
        .map(|&i| {
            let ImageFile { path, frame } = &images[i];
            Some(((sha256(&std::fs::read(path).ok()?), *frame), i))
        })
        .collect();
    gathered(hashed.into_iter().flatten())
}

/// The lists of images that share a key, in the order of their first.
fn gathered<K: Eq + std::hash::Hash>(keys: impl Iterator<Item = (K, usize)>) -> Vec<Vec<usize>> {
    let mut lists: HashMap<K, Vec<usize>> = HashMap::new();
    keys.for_each(|(key, image)| lists.entry(key).or_default().push(image));
    let mut lists: Vec<Vec<usize>> = lists.into_values().filter(|list| list.len() > 1).collect();
    lists.sort_unstable();
    lists
}
