//! The largest batch that can occur in a run.

use rayon::prelude::*;
use serde::Serialize;

use sonotune_dataset::{
    Dataset, Record, TargetNeeds,
    pixels::Reader,
    transforms::{Cropping, PadTo, PreprocessConfig, SizeRule, scaled_size},
};

/// Sizes are read from at most this many files, evenly spread, if the annotations do not give them.
const MOST_FILES_READ: usize = 512;

/// What one image costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// `(height, width)` of the network's input, before padding; `None`: unknown.
    input: Option<(u32, u32)>,
    /// Number of pixels in the file.
    pixels: u64,
    objects: usize,
}

/// Indices of the images of the largest batch, and how it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LargestBatch {
    #[serde(skip)]
    pub(super) records: Vec<usize>,
    /// Number of objects in all its images.
    pub num_objects: usize,
    /// How it was chosen.
    pub chosen_by: String,
}

/// Chooses `batch_size` images of `dataset`, some of them twice if there are fewer.
/// An image that cannot be read counts as one of unknown size.
#[must_use]
pub(super) fn largest(
    dataset: &Dataset,
    batch_size: usize,
    preprocess: &PreprocessConfig,
    pad_to: PadTo,
    needs: TargetNeeds,
) -> LargestBatch {
    let counts_objects = needs != TargetNeeds::ImageLabels;
    let costs = costs(&dataset.records, preprocess, counts_objects);
    let records = choose(&costs, batch_size, pad_to);
    let read = costs.iter().filter(|cost| cost.input.is_some()).count();
    let mut chosen_by = match (pad_to, counts_objects) {
        (PadTo::Multiple, true) => {
            "the tallest and the widest image, then most objects, then most pixels"
        }
        (PadTo::Multiple, false) => "the tallest and the widest image, then most pixels",
        (PadTo::Square, true) => "most objects, then most pixels",
        (PadTo::Square, false) => "most pixels",
    }
    .to_owned();
    if read < costs.len() {
        chosen_by += &format!(" (sizes of {read} of {} images are known)", costs.len());
    }
    let num_objects = records.iter().map(|&i| costs[i].objects).sum();
    LargestBatch { records, num_objects, chosen_by }
}

fn costs(records: &[Record], preprocess: &PreprocessConfig, objects: bool) -> Vec<Cost> {
    let unknown = records.iter().filter(|record| record.size.is_none()).count();
    let stride = unknown.div_ceil(MOST_FILES_READ).max(1);
    let (reader, options) = (Reader::default(), preprocess.decode_options());
    let rule = match preprocess.size_rule {
        SizeRule::Stretch => SizeRule::Stretch,
        SizeRule::Truncate | SizeRule::Round => SizeRule::Round,
    };
    let cost = |(i, record): (usize, &Record)| {
        let size = match record.size {
            Some(size) => Some(size),
            None if i % stride == 0 => reader.read_size(&record.path, record.frame, options).ok(),
            None => None,
        };
        Cost {
            // What is left of an image that is cut, its header does not tell.
            input: size
                .filter(|_| preprocess.crop == Cropping::None)
                .map(|s| scaled_size(s, preprocess.image_size, rule)),
            pixels: size.map_or(0, |(h, w)| u64::from(h) * u64::from(w)),
            objects: if objects { record.objects.len() } else { 0 },
        }
    };
    records.par_iter().enumerate().map(cost).collect()
}

/// Positions in `costs`: if padding depends on the images, first those that make it largest; then by
/// objects, then by pixels; ties go to the earlier one.
fn choose(costs: &[Cost], batch_size: usize, pad_to: PadTo) -> Vec<usize> {
    let mut by_cost: Vec<usize> = (0..costs.len()).collect();
    by_cost.sort_by_key(|&i| (std::cmp::Reverse((costs[i].objects, costs[i].pixels)), i));
    let mut chosen: Vec<usize> = Vec::new();
    if pad_to == PadTo::Multiple {
        let side = |f: fn((u32, u32)) -> u32| {
            by_cost
                .iter()
                .copied()
                .max_by_key(|&i| (costs[i].input.map_or(0, f), std::cmp::Reverse(i)))
        };
        chosen.extend(side(|(height, _)| height));
        chosen.extend(side(|(_, width)| width).filter(|i| !chosen.contains(i)));
        chosen.truncate(batch_size);
    }
    let rest: Vec<usize> = by_cost.iter().copied().filter(|i| !chosen.contains(i)).collect();
    chosen.extend(rest);
    // If the epoch is shorter than a batch, its images repeat.
    chosen.into_iter().cycle().take(if costs.is_empty() { 0 } else { batch_size }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(input: (u32, u32), objects: usize) -> Cost {
        Cost { input: Some(input), pixels: u64::from(input.0) * u64::from(input.1), objects }
    }

    #[test]
    fn most_objects_come_first_then_most_pixels() {
        let costs = [cost((8, 8), 1), cost((4, 4), 7), cost((9, 8), 1), cost((4, 4), 7)];
        assert_eq!(choose(&costs, 3, PadTo::Square), [1, 3, 2]);
        assert_eq!(choose(&costs, 6, PadTo::Square), [1, 3, 2, 0, 1, 3]);
        assert_eq!(choose(&[], 3, PadTo::Square), [0usize; 0]);
    }

    #[test]
    fn where_padding_follows_the_images_the_longest_sides_are_in() {
        let costs = [cost((8, 8), 9), cost((32, 4), 0), cost((4, 64), 0), cost((32, 5), 0)];
        assert_eq!(choose(&costs, 3, PadTo::Multiple), [1, 2, 0]);
        assert_eq!(choose(&costs, 1, PadTo::Multiple), [1]);
        let one = [cost((64, 64), 0), cost((8, 8), 3)];
        assert_eq!(choose(&one, 2, PadTo::Multiple), [0, 1]);
    }
}
