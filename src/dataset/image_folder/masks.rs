//! Masks that are among the images of class folders, as several datasets are published.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use crate::files::relative_text;
use sonotune_base::pattern;

/// Words for masks in the names of files and folders, in lower case; longer ones first.
const WORDS: [&str; 13] = [
    "segmentations",
    "ground_truth",
    "segmentation",
    "annotations",
    "groundtruth",
    "annotation",
    "labels",
    "masks",
    "label",
    "mask",
    "segs",
    "seg",
    "gt",
];

/// A mask among images.
#[derive(Debug)]
pub(super) struct StrayMask {
    /// Index of the image whose mask it seems to be.
    pub(super) of: usize,
    /// Index of the mask.
    pub(super) index: usize,
    /// Pattern of paths that leaves out masks named or placed like this one.
    wide: String,
    /// The same for fewer files.
    narrow: String,
}

/// Images of the folder `source` that are named after another one (`1_mask.png` beside `1.png`), or
/// are in a folder for masks under the name of an image elsewhere.
pub(super) fn among(images: &[PathBuf], source: &Path) -> Vec<StrayMask> {
    let names: Vec<String> = images.iter().map(|path| relative_text(path, source)).collect();
    let parts: Vec<(&str, &str)> = names.iter().map(|name| folder_and_stem(name)).collect();
    let in_folder: HashMap<(&str, &str), usize> =
        parts.iter().enumerate().map(|(i, &parts)| (parts, i)).collect();
    let mut elsewhere: HashMap<&str, usize> = HashMap::new();
    for (i, (folder, stem)) in parts.iter().enumerate() {
        if mask_folder(folder).is_none() {
            elsewhere.entry(stem).or_insert(i);
        }
    }
    let mask = |(index, &(folder, stem)): (usize, &(&str, &str))| {
        let named = named_after(stem);
        let beside = named.and_then(|named| in_folder.get(&(folder, named.image)));
        if let (Some(named), Some(&of)) = (named, beside) {
            let ending = names[index].rsplit_once('.').map_or("", |(_, ending)| ending);
            let narrow = format!("{}.{ending}", named.narrow(stem));
            return Some(StrayMask { of, index, wide: named.wide(), narrow });
        }
        let masks = mask_folder(folder)?;
        let of = [Some(stem), named.map(|named| named.image)].into_iter().flatten();
        let of = of.filter_map(|image| elsewhere.get(image)).next().copied()?;
        let name = masks.rsplit_once('/').map_or(masks, |(_, name)| name);
        let wide = if name == masks { name.to_owned() } else { format!("*/{name}") };
        Some(StrayMask { of, index, wide, narrow: masks.to_owned() })
    };
    parts.iter().enumerate().filter_map(mask).collect()
}

/// Patterns of paths that leave out the masks and nothing else.
pub(super) fn patterns(masks: &[StrayMask], images: &[PathBuf], source: &Path) -> Vec<String> {
    let is_mask: BTreeSet<usize> = masks.iter().map(|mask| mask.index).collect();
    let others: Vec<String> = (0..images.len())
        .filter(|i| !is_mask.contains(i))
        .map(|i| relative_text(&images[i], source))
        .collect();
    let hits: HashMap<&str, bool> = masks
        .iter()
        .map(|mask| (&*mask.wide, others.iter().any(|name| leaves_out(&mask.wide, name))))
        .collect();
    let chosen: BTreeSet<&str> = masks
        .iter()
        .map(|mask| if hits[&*mask.wide] { &*mask.narrow } else { &*mask.wide })
        .collect();
    chosen.into_iter().map(str::to_owned).collect()
}

/// Whether a pattern leaves out the file `name`: itself or a folder that it is in.
pub(super) fn leaves_out(wanted: &str, name: &str) -> bool {
    let folders = name.match_indices('/').map(|(at, _)| &name[..at]);
    folders.chain([name]).any(|part| pattern::matches(wanted, part))
}

fn folder_and_stem(name: &str) -> (&str, &str) {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    (folder, file.rsplit_once('.').map_or(file, |(stem, _)| stem))
}

/// The part of a folder's path up to the outermost folder for masks.
fn mask_folder(folder: &str) -> Option<&str> {
    let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
    ends.map(|end| &folder[..end]).find(|path| {
        let name = path.rsplit_once('/').map_or(*path, |(_, name)| name).to_ascii_lowercase();
        WORDS.contains(&&*name)
    })
}

/// The name of a mask, taken apart.
#[derive(Debug, Clone, Copy)]
struct Named<'a> {
    /// Name of the image.
    image: &'a str,
    /// What says that it is a mask, with its separator: `_mask`, `mask_`.
    word: &'a str,
    is_prefix: bool,
}

impl Named<'_> {
    fn wide(self) -> String {
        if self.is_prefix { format!("*/{}*", self.word) } else { format!("*{}*", self.word) }
    }

    fn narrow(self, stem: &str) -> String {
        match self.is_prefix {
            true => format!("*/{stem}"),
            false => format!("*{}", &stem[self.image.len()..]),
        }
    }
}

/// `1_mask`, `1-mask-2`, `mask_1` as a mask of `1`.
fn named_after(stem: &str) -> Option<Named<'_>> {
    let is_separator = |c: char| matches!(c, '_' | '-' | '.' | ' ');
    let lower = stem.to_ascii_lowercase();
    // A number counts the masks of an image.
    let counts = |c: char| c.is_ascii_digit() || matches!(c, '(' | ')') || is_separator(c);
    let counted = lower.trim_end_matches(counts);
    let of_word = |word: &&str| {
        if let Some(rest) = counted.strip_suffix(*word) {
            let image = stem[..rest.len()].trim_end_matches(is_separator);
            if !image.is_empty() && image.len() < rest.len() {
                let word = &stem[image.len()..counted.len()];
                return Some(Named { image, word, is_prefix: false });
            }
        }
        let rest = &stem[lower.strip_prefix(*word).map(|_| word.len())?..];
        let image = rest.trim_start_matches(is_separator);
        let word = &stem[..stem.len() - image.len()];
        (!image.is_empty() && image.len() < rest.len()).then_some(Named {
            image,
            word,
            is_prefix: true,
        })
    };
    WORDS.iter().find_map(of_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> (Vec<(String, String)>, Vec<String>) {
        let images: Vec<PathBuf> = names.iter().map(|name| Path::new("t").join(name)).collect();
        let masks = among(&images, Path::new("t"));
        let pairs = masks.iter().map(|m| (names[m.index].to_owned(), names[m.of].to_owned()));
        (pairs.collect(), patterns(&masks, &images, Path::new("t")))
    }

    #[test]
    fn masks_are_told_from_images_and_the_patterns_leave_them_out() {
        // (images, masks, patterns)
        let cases: [(&[&str], &[&str], &[&str]); 9] = [
            (&["b/b (1).png"], &["b/b (1)_mask.png", "b/b (1)_mask_1.png"], &["*_mask*"]),
            (&["b/1.jpg"], &["b/1-Mask-2.png", "b/1 seg.png"], &["* seg*", "*-Mask*"]),
            (&["b/0_HC.png"], &["b/0_HC_Annotation.png"], &["*_Annotation*"]),
            (&["b/1.png"], &["b/mask_1.png"], &["*/mask_*"]),
            (&["b/images/1.png"], &["b/mask/1.png"], &["*/mask"]),
            (&["b/images/1.png"], &["b/Masks/1_mask.png"], &["*/Masks"]),
            (&["b/1.png", "m/2.png"], &["masks/1.png", "masks/p/2.png"], &["masks"]),
            // A pattern must not leave out what is not a mask.
            (&["b/1.png", "b/x_masked.png"], &["b/1_mask.png"], &["*_mask.png"]),
            (&["b/1.png", "b/2_mask.png", "b/mask.png", "c/1_mask.png", "gt/7.png"], &[], &[]),
        ];
        for (images, masks, expected) in cases {
            let all: Vec<&str> = images.iter().chain(masks).copied().collect();
            let (pairs, patterns) = found(&all);
            assert_eq!(pairs.iter().map(|p| &*p.0).collect::<Vec<_>>(), masks);
            assert!(pairs.iter().all(|(_, of)| images.contains(&&**of)), "{pairs:?}");
            assert_eq!(patterns, expected);
            let left_out = |name: &&&str| patterns.iter().any(|p| leaves_out(p, name));
            assert_eq!(all.iter().filter(left_out).copied().collect::<Vec<_>>(), masks);
        }
    }
}
