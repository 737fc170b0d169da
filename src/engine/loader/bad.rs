//! Images that cannot be used: which those are, and what takes their place.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::prepare::{Plan, Prepared, prepare};
use crate::loader::BadImages;
use sonotune_base::{
    Error, ErrorKind, ImageId,
    error::kind,
    seed::{REPLACE, Rng},
};
use sonotune_dataset::{Dataset, transforms::Augmentation};

/// An image that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadImage {
    /// Index into the dataset.
    pub record: usize,
    /// Its name; see [`Record::name`](sonotune_dataset::Record::name).
    pub path: PathBuf,
    pub image_id: ImageId,
    /// Its first position: in the training order, or in the file.
    pub position: u64,
    pub reason: String,
}

/// A [`BadImage`] on its way to another process; path and id follow from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    record: usize,
    position: u64,
    reason: String,
}

impl From<&BadImage> for Skipped {
    fn from(bad: &BadImage) -> Self {
        Self { record: bad.record, position: bad.position, reason: bad.reason.clone() }
    }
}

impl Skipped {
    /// The image in the `dataset` that both processes have.
    ///
    /// # Errors
    /// If this process's has fewer images.
    pub fn in_dataset(self, dataset: &Dataset) -> Result<BadImage> {
        let Self { record, position, reason } = self;
        let of = dataset.records.get(record).with_context(|| {
            format!("another process skipped image {record} of a split that has fewer here")
        })?;
        let (path, image_id) = (of.name(), of.image_id.clone());
        Ok(BadImage { record, path, image_id, position, reason })
    }
}

/// One image to prepare.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) position: u64,
    /// Index into the dataset.
    pub(super) record: usize,
    pub(super) change: Augmentation,
}

/// The result for a place.
#[derive(Debug)]
pub(super) struct Filled {
    /// Dataset index and content; `None` when nothing could be put there.
    pub(super) image: Option<(usize, Prepared)>,
    /// Images that were tried without success, in this order.
    pub(super) bad: Vec<BadImage>,
}

/// Prepares the image for a place. If bad images are skipped, training puts another one there, drawn
/// from (seed, position, attempt) alone: timing and faults in other places do not matter.
pub(super) fn fill(plan: &Plan, dataset: &Dataset, place: Place) -> Result<Filled> {
    let count = dataset.records.len();
    let (mut bad, mut tried) = (Vec::new(), BTreeSet::new());
    let (mut record, mut attempt) = (place.record, 0);
    loop {
        let candidate = &dataset.records[record];
        let error = match prepare(plan, candidate, place.change) {
            Ok(prepared) => return Ok(Filled { image: Some((record, prepared)), bad }),
            Err(error) => error,
        };
        if plan.loader.bad_images == BadImages::Fail || !is_of_the_image(&error) {
            return Err(error);
        }
        bad.push(BadImage {
            record,
            path: candidate.name(),
            image_id: candidate.image_id.clone(),
            position: place.position,
            reason: format!("{error:#}"),
        });
        tried.insert(record);
        // More than may be skipped: the loader will say so when the step's turn comes.
        if !plan.train || tried.len() == count || bad.len() > plan.loader.max_bad_images {
            return Ok(Filled { image: None, bad });
        }
        while tried.contains(&record) {
            attempt += 1;
            let mut rng = Rng::at(plan.seed, &[REPLACE, place.position, attempt]);
            record = rng.below(count as u64) as usize;
        }
    }
}

/// Whether the image or its annotation is at fault, not the machine: if file handles or memory have
/// run out, another image would not fare better; such errors have no kind.
fn is_of_the_image(error: &anyhow::Error) -> bool {
    kind(error) == Some(ErrorKind::Data)
}

/// The distinct bad images met so far.
///
/// Only those of steps already handed out count, in order; what workers have prepared ahead does not
/// count before its turn. So the step at which there are too many does not depend on timing.
#[derive(Debug, Default)]
pub(super) struct Met {
    images: BTreeMap<usize, BadImage>,
    /// Not yet asked for.
    news: Vec<BadImage>,
}

impl Met {
    /// Counts the bad images of a step.
    ///
    /// # Errors
    /// A data error if there are more than may be skipped: names the first and how many.
    pub(super) fn count(&mut self, bad: Vec<BadImage>, plan: &Plan, all: usize) -> Result<()> {
        for image in bad {
            if !self.images.contains_key(&image.record) {
                self.news.push(image.clone());
                self.images.insert(image.record, image);
            }
        }
        let (found, most) = (self.images.len(), plan.loader.max_bad_images);
        if found <= most && found < all {
            return Ok(());
        }
        let Some(first) = self.first() else { return Ok(()) };
        let why = if found > most {
            format!(
                "{found} images cannot be used, more than loader.max_bad_images = {most} allows"
            )
        } else {
            format!("not one of the {all} images of the split can be used")
        };
        Err(Error::data(format!(
            "{why}; the first is image {} (id {}): {}. Fix or remove them (`sonotune data check` \
             finds them all), or raise loader.max_bad_images",
            first.path.display(),
            first.image_id,
            first.reason
        ))
        .into())
    }

    /// Adds those that an earlier part of the run has met.
    pub(super) fn know(&mut self, image: BadImage) {
        self.images.insert(image.record, image);
    }

    fn first(&self) -> Option<&BadImage> {
        self.images.values().min_by_key(|image| image.position)
    }

    pub(super) fn take_news(&mut self) -> Vec<BadImage> {
        std::mem::take(&mut self.news)
    }
}
