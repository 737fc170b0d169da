//! Looks a dataset over before anything is trained on it.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;

use super::{
    Dataset, DatasetConfig, Object, Record, Split, Statistics,
    image_io::{self, DecodeOptions},
    loader::check_size,
};

/// What was found in all splits of a config.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetCheck {
    pub splits: Vec<SplitCheck>,
    /// Images of one split that are also in another: scores on them say nothing.
    pub shared_images: Vec<Finding>,
}

/// What was found in one split.
#[derive(Debug, Clone, Serialize)]
pub struct SplitCheck {
    pub split: Split,
    pub statistics: Statistics,
    /// Images that training or evaluation would stop at.
    pub faults: Vec<Finding>,
    /// What can be meant so, but seldom is.
    pub doubts: Vec<Finding>,
}

/// One kind of finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How often.
    pub count: usize,
    pub what: String,
    /// The first of them, with its reason.
    pub first: String,
}

impl DatasetCheck {
    /// Number of images that training or evaluation would stop at.
    #[must_use]
    pub fn num_faults(&self) -> usize {
        self.splits.iter().flat_map(|s| &s.faults).map(|f| f.count).sum()
    }
}

/// Opens every split and looks at each image: present, and when `decode` is given, readable, of
/// the size that the annotations claim, with masks that rasterise. `progress` is told of every
/// image.
///
/// # Errors
/// When a split does not open.
pub fn check(
    config: &dyn DatasetConfig,
    decode: Option<DecodeOptions>,
    progress: &(dyn Fn() + Sync),
) -> Result<DatasetCheck> {
    let opened = config
        .splits()
        .into_iter()
        .map(|split| Ok((split, config.open(split).with_context(|| format!("split {split}"))?)))
        .collect::<Result<Vec<_>>>()?;
    let splits = opened.iter().map(|(split, data)| check_split(*split, data, decode, progress));
    Ok(DatasetCheck { splits: splits.collect(), shared_images: shared_images(&opened) })
}

const UNREADABLE: &str = "image cannot be used";

fn check_split(
    split: Split,
    dataset: &Dataset,
    decode: Option<DecodeOptions>,
    progress: &(dyn Fn() + Sync),
) -> SplitCheck {
    let looks: Vec<Result<Vec<(&str, String)>>> = dataset
        .records
        .par_iter()
        .map(|record| {
            let look = look_at(record, decode);
            progress();
            look
        })
        .collect();
    let (mut faults, mut doubts) = (Tally::default(), Tally::default());
    for (record, look) in dataset.records.iter().zip(looks) {
        match look {
            Ok(found) => found.into_iter().for_each(|(what, first)| doubts.add(what, first)),
            Err(e) => faults.add(UNREADABLE, format!("id {}: {e:#}", record.image_id)),
        }
    }
    let statistics = Statistics::of(dataset);
    if let [only] = &statistics.categories[..] {
        doubts.add("category in all", format!("\"{}\": nothing to classify", only.name));
    }
    for category in &statistics.categories {
        if category.num_objects + category.num_images == 0 {
            doubts.add("category without an object or image", format!("\"{}\"", category.name));
        }
    }
    SplitCheck { split, statistics, faults: faults.into(), doubts: doubts.into() }
}

/// Doubts about an image; an error if it cannot be used.
fn look_at(record: &Record, decode: Option<DecodeOptions>) -> Result<Vec<(&'static str, String)>> {
    let size = match decode {
        Some(options) => {
            let image = image_io::decode_file(&record.path, options)?;
            check_size((image.height, image.width), image.transposed, record.size, &record.path)?;
            Some((image.height, image.width))
        }
        None => {
            anyhow::ensure!(record.path.is_file(), "there is no file {}", record.path.display());
            record.size
        }
    };
    let Some(size) = size else { return Ok(Vec::new()) };
    let mut doubts = Vec::new();
    for (i, object) in record.objects.iter().enumerate() {
        let place = || format!("image {}, its object {i}", record.path.display());
        for (what, reason) in look_at_object(object, size, decode.is_some()).with_context(place)? {
            doubts.push((what, format!("{}: {reason}", place())));
        }
    }
    Ok(doubts)
}

fn look_at_object(
    object: &Object,
    size: (u32, u32),
    rasterize: bool,
) -> Result<Vec<(&'static str, String)>> {
    let [x, y, w, h] = object.bbox;
    let (height, width) = (f64::from(size.0), f64::from(size.1));
    let mut doubts = Vec::new();
    // A pixel of tolerance: tools differ on whether the last pixel counts.
    if x < -1.0 || y < -1.0 || x + w > width + 1.0 || y + h > height + 1.0 {
        let reason = format!("bbox {:?} in an image of {height}x{width}", object.bbox);
        doubts.push(("box beyond its image", reason));
    }
    if w < 1.0 || h < 1.0 {
        doubts.push(("box smaller than a pixel", format!("bbox {:?}", object.bbox)));
    }
    if !rasterize {
        return Ok(doubts);
    }
    let mask = object.segmentation.rasterize(size, object.bbox)?;
    let tight = mask.bbox();
    if mask.area() == 0 {
        doubts.push(("mask without a pixel", format!("bbox {:?}", object.bbox)));
    } else if box_iou(tight, object.bbox) < 0.5 {
        let reason = format!("bbox {:?}, of the mask {tight:?}", object.bbox);
        doubts.push(("box that is not that of its mask", reason));
    }
    Ok(doubts)
}

/// Overlap of two XYWH boxes.
fn box_iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let overlap = |axis: usize| {
        let end = (a[axis] + a[axis + 2]).min(b[axis] + b[axis + 2]);
        (end - a[axis].max(b[axis])).max(0.0)
    };
    let both = overlap(0) * overlap(1);
    let union = a[2] * a[3] + b[2] * b[3] - both;
    if union > 0.0 { both / union } else { 0.0 }
}

fn shared_images(opened: &[(Split, Dataset)]) -> Vec<Finding> {
    let mut first_split: HashMap<&Path, Split> = HashMap::new();
    let mut shared = Tally::default();
    for (split, dataset) in opened {
        for record in &dataset.records {
            let first = *first_split.entry(&record.path).or_insert(*split);
            if first != *split {
                let what = format!("image of {first} also in {split}");
                shared.add(&what, record.path.display().to_string());
            }
        }
    }
    shared.into()
}

/// Counts by kind, with the first example of each.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, (usize, String)>);

impl Tally {
    fn add(&mut self, what: &str, first: String) {
        self.0.entry(what.to_owned()).or_insert((0, first)).0 += 1;
    }
}

impl From<Tally> for Vec<Finding> {
    fn from(tally: Tally) -> Self {
        let finding = |(what, (count, first))| Finding { count, what, first };
        tally.0.into_iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_overlap_as_they_should() {
        assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]), 1.0);
        assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0]), 1.0 / 3.0);
        assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 2.0, 2.0]), 0.0);
        assert_eq!(box_iou([0.0; 4], [0.0; 4]), 0.0);
    }
}
