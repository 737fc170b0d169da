//! The thread that computes what depends on the pixels alone.

use anyhow::{Context, Result};
use sonotune_base::{ImageId, panics::caught};
use sonotune_dataset::Record;
use sonotune_engine::{
    batch::Batch,
    determinism,
    device::Place,
    loader::{LoadPlan, prepare_batch},
};

use super::{LiveImage, kept::Ready, queue::Queue};
use crate::encoder::Encoder;

/// Computes the backbone's output.
#[derive(Debug)]
pub(super) struct Embedder {
    /// `None` if answers need the pixels themselves.
    pub(super) encoder: Option<Encoder>,
    pub(super) place: Place,
    pub(super) plan: LoadPlan,
}

/// The image as a record without annotation.
pub(super) fn record(image: &LiveImage) -> Record {
    let record = Record::new(ImageId::Unsigned(1), image.file.path.clone());
    Record { frame: image.file.frame, ..record }
}

impl Embedder {
    /// Works until the queue is closed.
    pub(super) fn run(&self, queue: &Queue) {
        while let Some(image) = queue.next_image() {
            let outcome = caught(|| self.embed(&image))
                .unwrap_or_else(|message| Err(anyhow::anyhow!("{}: {message}", image.file)));
            queue.embedded(image, outcome);
        }
    }

    fn embed(&self, image: &LiveImage) -> Result<Ready> {
        let batch = prepare_batch(&[record(image)], &self.plan)?;
        let target = batch.targets.first().context("an image without a target")?;
        let (height, width) = target.file_size();
        let size = (u32::try_from(height)?, u32::try_from(width)?);
        let crop = target.crop;
        let doing = || format!("computing the embedding of {}", image.file);
        let batch = determinism::guarded(doing, || {
            let batch = batch.to_place(self.place)?;
            let Some(encoder) = &self.encoder else { return Ok(batch) };
            let levels = encoder.levels(self.place, &batch)?;
            Ok(Batch::embedded(&batch.images.size(), levels, batch.targets))
        })?;
        Ok(Ready { batch, size, crop })
    }
}
