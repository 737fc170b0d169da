//! Finds images that are the same or nearly so, within and across datasets and splits.
//!
//! Exact duplicates have equal decoded pixels, whatever their file format. Near duplicates look
//! alike when scaled down, in any of the eight ways to mirror and rotate an image by multiples of 90°:
//! resized, compressed, brightened, mirrored or rotated copies, and neighbouring frames. Crops and
//! added borders are not found. Two datasets of US-43d, MicroSeg and MUP, are one archive with
//! different flips.
//!
//! Two images are near if their perceptual hashes differ in at most `distance` of 63 bits
//! (`hash`) and their 16×16 miniatures have a correlation of at least 0.97. Nearness is transitive: a
//! group's members are linked by steps, so the frames of a clip form one group. Among images with the
//! same hash, those that look alike are represented in the search by the first of them.

mod sources;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;
use sonotune_base::{Error, image_io::DecodeOptions};
use sonotune_dataset::pixels::{ImageFile, Reader};

pub use sonotune_audit::print::{Print, Turn};
pub use sonotune_audit::{near::components, print::MAX_DISTANCE};
pub use sources::{Entry, Sources};

#[derive(Debug, Clone, Serialize)]
pub struct DuplicateOptions {
    /// Bits in which the hashes of near duplicates may differ; 0 to [`MAX_DISTANCE`].
    pub distance: u32,
    /// Whether to list only groups that span several splits or datasets.
    pub across: bool,
    /// Images with more pixels are not decoded.
    pub max_pixels: u64,
}

impl Default for DuplicateOptions {
    fn default() -> Self {
        Self { distance: 4, across: false, max_pixels: 1 << 28 }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct DuplicateReport {
    /// Number of entries compared; an image that two files list counts twice.
    pub images: usize,
    /// Why an image could not be compared.
    pub unreadable: Vec<String>,
    /// How names in COCO files were read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// All groups found, listed or not.
    pub num_groups: usize,
    pub num_across_splits: usize,
    pub num_across_datasets: usize,
    /// Sorted by the path of their first member.
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// Whether the pixels of all members are equal.
    pub exact: bool,
    pub datasets: Vec<String>,
    pub splits: Vec<String>,
    /// Sorted by path.
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// With the number of its frame, if it is one: `clip.mp4#17`.
    pub path: PathBuf,
    pub dataset: Option<String>,
    /// Name of the COCO file that lists it, without its extension.
    pub split: Option<String>,
    /// Members with the same number have equal pixels.
    pub pixels: usize,
    /// How the first member is turned to look like this one.
    pub turn: Turn,
    /// Number of differing bits between the hashes of that turned image and this one.
    pub distance: u32,
}

/// Compares all images of `sources`; calls `progress` after each one that is decoded.
///
/// # Errors
/// If `distance` is out of range. An image that cannot be read is not an error, but is reported.
pub fn find(
    sources: &Sources,
    options: &DuplicateOptions,
    progress: &(dyn Fn() + Sync),
) -> Result<DuplicateReport> {
    if options.distance > MAX_DISTANCE {
        let message = format!("--distance {}: expected 0 to {MAX_DISTANCE}", options.distance);
        return Err(Error::config(message).into());
    }
    let decode = DecodeOptions { exif: false, max_pixels: options.max_pixels };
    let reader = Reader::default();
    let print = |file: &ImageFile| {
        let image = reader.decode(&file.path, file.frame, decode);
        let print = image.map(|image| Print::of(&image.into_grey_if_equal()));
        progress();
        print.map_err(|error| sources.refusal(file, &error))
    };
    // One thread for all frames of a clip, which are decoded in their order.
    let printed: Vec<Result<Print, String>> = sources
        .files
        .par_chunk_by(|a, b| a.path == b.path)
        .flat_map_iter(|frames| frames.iter().map(print))
        .collect();
    let mut prints = Vec::new();
    let mut unreadable = Vec::new();
    // Index into `prints` by file.
    let print_of: Vec<Option<usize>> = printed
        .into_iter()
        .map(|print| match print {
            Ok(print) => {
                prints.push(print);
                Some(prints.len() - 1)
            }
            Err(reason) => {
                unreadable.push(reason);
                None
            }
        })
        .collect();
    let components = components(&prints, options.distance);
    let mut grouped: HashMap<usize, Vec<(&Entry, usize)>> = HashMap::new();
    for entry in &sources.entries {
        if let Some(print) = print_of[entry.file] {
            grouped.entry(components[print]).or_default().push((entry, print));
        }
    }
    let mut groups: Vec<Group> = grouped
        .into_values()
        .filter(|members| members.len() > 1)
        .map(|members| group(&sources.files, &prints, members))
        .collect();
    groups.sort_by(|a, b| key(a).cmp(&key(b)));
    let mut report = DuplicateReport {
        images: sources.entries.len(),
        unreadable,
        notes: sources.notes.clone(),
        num_groups: groups.len(),
        num_across_splits: groups.iter().filter(|g| g.splits.len() > 1).count(),
        num_across_datasets: groups.iter().filter(|g| g.datasets.len() > 1).count(),
        groups,
    };
    if options.across {
        report.groups.retain(|g| g.splits.len() > 1 || g.datasets.len() > 1);
    }
    Ok(report)
}

fn key(group: &Group) -> Option<(&Path, Option<&str>)> {
    group.members.first().map(|m| (&*m.path, m.split.as_deref()))
}

fn group(files: &[ImageFile], prints: &[Print], mut members: Vec<(&Entry, usize)>) -> Group {
    members.sort_by(|(a, _), (b, _)| (&files[a.file], &a.split).cmp(&(&files[b.file], &b.split)));
    let distinct = |name: fn(&Entry) -> Option<&String>| -> Vec<String> {
        let names: BTreeSet<_> = members.iter().filter_map(|(entry, _)| name(entry)).collect();
        names.into_iter().cloned().collect()
    };
    let (datasets, splits) = (distinct(|e| e.dataset.as_ref()), distinct(|e| e.split.as_ref()));
    let mut pixels = HashMap::new();
    let first = &prints[members[0].1];
    let member = |&(entry, print): &(&Entry, usize)| {
        let print = &prints[print];
        let next = pixels.len();
        let (turn, distance) = first.nearest_turn(print);
        Member {
            path: files[entry.file].name(),
            dataset: entry.dataset.clone(),
            split: entry.split.clone(),
            pixels: *pixels.entry(print.pixels).or_insert(next),
            turn,
            distance,
        }
    };
    let members: Vec<Member> = members.iter().map(member).collect();
    Group { exact: members.iter().all(|m| m.pixels == 0), datasets, splits, members }
}
