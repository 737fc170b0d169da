//! `skipped.json`: the images that a run could not use, and why.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::logging::RunLogger;
use sonotune_base::fs::{atomic_write, read_if_exists};
use sonotune_dataset::{Dataset, Record, Split};
use sonotune_engine::loader::{BadImage, LoaderConfig};
use sonotune_run_folder::{RunFolder, SkippedImage};

/// Content of `skipped.json`; both lists in order of position.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    max_bad_images: usize,
    train: Vec<SkippedImage>,
    val: Vec<SkippedImage>,
}

/// The skipped images of a run; the file is written whenever there is a new one.
#[derive(Debug)]
pub(super) struct SkippedList {
    /// `None` in a process that leaves the file to the first.
    path: Option<PathBuf>,
    content: Content,
}

/// The record of an image that was skipped after `step` optimiser steps.
pub(super) fn record(bad: &BadImage, step: u64) -> SkippedImage {
    SkippedImage {
        image: bad.path.clone(),
        image_id: bad.image_id.to_string(),
        position: bad.position,
        step,
        reason: bad.reason.clone(),
    }
}

impl SkippedList {
    /// For a run that starts, or one that resumes after `steps_done` steps: images skipped later are
    /// dropped, since they will be skipped again.
    ///
    /// # Errors
    /// When the file of the earlier part of the run cannot be read.
    pub(super) fn open(
        folder: &RunFolder,
        loader: &LoaderConfig,
        steps_done: u64,
        is_first: bool,
    ) -> Result<Self> {
        let path = folder.skipped();
        let mut content = Content::default();
        if folder.is_resumed()
            && let Some(text) = read_if_exists(&path)?
        {
            content = serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged; remove it", path.display()))?;
            content.train.retain(|image| image.step < steps_done);
            content.val.retain(|image| image.step <= steps_done);
        }
        content.max_bad_images = loader.max_bad_images;
        Ok(Self { path: is_first.then_some(path), content })
    }

    /// Adds skipped images that are not yet listed, and warns about them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn add(
        &mut self,
        logger: &RunLogger,
        split: Split,
        step: u64,
        bad: &[BadImage],
    ) -> Result<()> {
        let list = match split {
            Split::Train => &mut self.content.train,
            Split::Val | Split::Test => &mut self.content.val,
        };
        let before = list.len();
        for image in bad {
            if !list.iter().any(|known| known.is(&image.path, &image.image_id)) {
                logger.warn(&format!("image skipped: {}", image.reason));
                list.push(record(image, step));
            }
        }
        if list.len() == before {
            return Ok(());
        }
        list.sort_by_key(|image| image.position);
        let Some(path) = &self.path else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(&self.content)?;
        text.push('\n');
        atomic_write(path, text.as_bytes())
    }

    /// Skipped images of the training split, for a loader to count.
    pub(super) fn known_to(&self, train: &Dataset) -> Vec<BadImage> {
        let find = |image: &SkippedImage| {
            let same = |record: &Record| image.is(&record.name(), &record.image_id);
            let record = train.records.iter().position(same)?;
            Some(BadImage {
                record,
                path: image.image.clone(),
                image_id: train.records[record].image_id.clone(),
                position: image.position,
                reason: image.reason.clone(),
            })
        };
        self.content.train.iter().filter_map(find).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.content.train.len() + self.content.val.len()
    }
}
