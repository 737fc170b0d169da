//! Predictions on their way to the process that scores or writes them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sonotune_base::{Crop, Rle, Size, image_io::Stored};
use sonotune_dataset::Dataset;
use sonotune_engine::{
    batch::Target,
    loader::{BadImage, LoadPlan, Seen, Skipped, evaluation_target},
    task::{Answer, Instance, Prediction},
};

/// What a process found in one batch of a split.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SentBatch {
    pub(crate) images: Vec<SentImage>,
    /// Images that could not be used.
    pub(crate) skipped: Vec<Skipped>,
}

/// A prediction, and what the file told about the image; all else follows from its record.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SentImage {
    /// Index into the dataset.
    pub(crate) record: usize,
    original_size: Size,
    crop: Option<Crop>,
    /// As the decoded image is turned.
    spacing: Option<[f64; 2]>,
    pages: u32,
    peak: Option<u16>,
    scores: Vec<f64>,
    labels: Vec<usize>,
    values: BTreeMap<String, f64>,
    instances: Vec<SentInstance>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SentInstance {
    category: usize,
    score: f64,
    bbox: [f64; 4],
    /// Height, width and runs.
    mask: Option<(u32, u32, Vec<u32>)>,
    /// Object and pass.
    answers: Option<(usize, usize)>,
}

impl SentBatch {
    /// As bytes; unlike JSON's, its numbers may be infinite or NaN.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(postcard::to_allocvec(self)?)
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Result<Self> {
        postcard::from_bytes(bytes).context("a process of another version of Sonotune?")
    }

    /// Those skipped, as the loader knows them.
    ///
    /// # Errors
    /// If the other process has another dataset.
    pub(crate) fn bad_images(&self, dataset: &Dataset) -> Result<Vec<BadImage>> {
        self.skipped.iter().map(|skipped| skipped.clone().in_dataset(dataset)).collect()
    }
}

impl SentImage {
    /// The prediction for the image of `target`, which is record `record`.
    pub(crate) fn new(record: usize, target: &Target, prediction: &Prediction) -> Self {
        let instance = |instance: &Instance| SentInstance {
            category: instance.category,
            score: instance.score,
            bbox: instance.bbox,
            mask: instance.mask.as_ref().map(|mask| (mask.height, mask.width, mask.counts.clone())),
            answers: instance.answers.map(|answer| (answer.object, answer.pass)),
        };
        Self {
            record,
            original_size: target.original_size,
            crop: target.crop,
            spacing: target.spacing,
            pages: target.stored.pages,
            peak: target.stored.peak,
            scores: prediction.scores.clone(),
            labels: prediction.labels.clone(),
            values: prediction.values.clone(),
            instances: prediction.instances.iter().map(instance).collect(),
        }
    }

    /// The prediction, and the annotation as the loader would have prepared it.
    ///
    /// # Errors
    /// If the other process has another dataset, or the annotation cannot be rasterised.
    pub(crate) fn restore(
        self,
        dataset: &Dataset,
        plan: &LoadPlan,
    ) -> Result<(Prediction, Target)> {
        let record = dataset.records.get(self.record).with_context(|| {
            format!(
                "another process predicted image {} of a split that has fewer here",
                self.record
            )
        })?;
        let (height, width) = self.original_size;
        let size = (u32::try_from(height)?, u32::try_from(width)?);
        let size = self.crop.map_or(size, |crop| crop.full);
        let target = evaluation_target(record, Seen { size, crop: self.crop }, plan)?;
        let stored = Stored { pages: self.pages, peak: self.peak };
        let target = Target { stored, spacing: self.spacing, ..target };
        let instance = |sent: SentInstance| Instance {
            category: sent.category,
            score: sent.score,
            bbox: sent.bbox,
            mask: sent.mask.map(|(height, width, counts)| Rle { height, width, counts }),
            answers: sent.answers.map(|(object, pass)| Answer { object, pass }),
        };
        let prediction = Prediction {
            scores: self.scores,
            labels: self.labels,
            values: self.values,
            instances: self.instances.into_iter().map(instance).collect(),
            ..Prediction::of(&target)
        };
        Ok((prediction, target))
    }
}
