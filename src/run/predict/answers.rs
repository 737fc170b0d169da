//! The model's answers, batch by batch.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{predictor::Predictor, sent::SentImage};
use sonotune_base::error::{ErrorKind, exit_code};
use sonotune_dataset::{Dataset, ImagePrompts, ObjectPrompt, Record, files::relative_text};
use sonotune_engine::{
    batch::{Batch, Target},
    loader::{LoadPlan, Loader, prepare_batch},
    parallel::Ranks,
    task::Prediction,
};

/// What answers need.
pub(super) struct Answering<'a> {
    pub(super) predictor: &'a Predictor<'a>,
    pub(super) plan: LoadPlan,
    /// Folder that image names are relative to.
    pub(super) base: PathBuf,
    pub(super) dataset: &'a Arc<Dataset>,
}

/// What became of one or several images.
pub(super) enum Outcome {
    /// The batch holds the images from record `first` on.
    Answered {
        batch: Batch,
        predictions: Vec<Prediction>,
        first: usize,
        notes: Vec<String>,
    },
    /// By another process.
    Elsewhere(SentImage),
    Failed(String),
}

/// The same on its way to the process that writes.
#[derive(Serialize, Deserialize)]
enum Sent {
    Image(SentImage),
    Failed(String),
}

impl Answering<'_> {
    /// Batches of all processes.
    pub(super) fn num_batches(&self) -> usize {
        self.dataset.records.len().div_ceil(self.plan.loader.batch_size)
    }

    /// The outcomes of this process's next batch, in order; `None` after the last. One damaged file, or prompts
    /// outside their image, must not cost the predictions of a thousand good ones.
    ///
    /// # Errors
    /// What concerns not one image but any.
    pub(super) fn next(&self, batches: &mut Loader) -> Result<Option<Vec<Outcome>>> {
        let Some(batch) = batches.next() else { return Ok(None) };
        let size = self.plan.loader.batch_size;
        let first = batches.number() as usize * size;
        let records = &self.dataset.records[first..];
        let records = &records[..records.len().min(size)];
        let whole = match batch {
            Ok(batch) => self.answer(batch, first)?,
            Err(error) => Err(error),
        };
        Ok(Some(match whole {
            Ok(answered) => vec![answered],
            Err(error) if records.len() == 1 => vec![Outcome::Failed(format!("{error:#}"))],
            Err(_) => self.one_by_one(records, first)?,
        }))
    }

    fn one_by_one(&self, records: &[Record], first: usize) -> Result<Vec<Outcome>> {
        let one = |(index, record): (usize, &Record)| {
            let answered = match prepare_batch(std::slice::from_ref(record), &self.plan) {
                Ok(batch) => self.answer(batch, first + index)?,
                Err(error) => Err(error),
            };
            Ok(answered.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}"))))
        };
        records.iter().enumerate().map(one).collect()
    }

    /// The inner error concerns one image, the outer one any image.
    fn answer(&self, mut batch: Batch, first: usize) -> Result<Result<Outcome>> {
        let notes = batch.targets.iter_mut().flat_map(|t| clip_boxes(t, &self.base)).collect();
        let records: Vec<usize> = (first..first + batch.targets.len()).collect();
        match self.predictor.predict(&batch, self.dataset, &records) {
            Ok(predictions) => Ok(Ok(Outcome::Answered { batch, predictions, first, notes })),
            Err(error) if exit_code(&error) == ErrorKind::Data.exit_code() => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// Answers as a process other than the first, and sends it what it found.
    pub(super) fn for_first(&self, ranks: &Ranks) -> Result<()> {
        let loader = Loader::eval(self.dataset.clone(), self.plan.clone());
        let mut batches = ranks.agree(loader)?;
        for _ in 0..self.num_batches().div_ceil(ranks.world_size()) {
            let outcomes = ranks.agree(self.next(&mut batches))?.unwrap_or_default();
            let sent: Vec<Sent> = outcomes.into_iter().flat_map(Outcome::into_sent).collect();
            ranks.gather(postcard::to_allocvec(&sent)?)?;
        }
        ranks.agree(Ok(()))
    }
}

impl Outcome {
    fn into_sent(self) -> Vec<Sent> {
        match self {
            Self::Answered { batch, predictions, first, .. } => {
                let all = predictions.iter().zip(&batch.targets).zip(first..);
                all.map(|((p, target), at)| Sent::Image(SentImage::new(at, target, p))).collect()
            }
            Self::Elsewhere(image) => vec![Sent::Image(image)],
            Self::Failed(why) => vec![Sent::Failed(why)],
        }
    }

    /// What another process sent.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Vec<Self>> {
        let sent: Vec<Sent> = postcard::from_bytes(bytes)?;
        let outcome = |sent| match sent {
            Sent::Image(image) => Self::Elsewhere(image),
            Sent::Failed(why) => Self::Failed(why),
        };
        Ok(sent.into_iter().map(outcome).collect())
    }
}

/// Clips boxes at the borders of their image, or of the part that was kept of it; reports which, with the boxes
/// as they were given, in the pixels of the file.
pub(crate) fn clip_boxes(target: &mut Target, base: &Path) -> Vec<String> {
    let file = relative_text(&target.path, base);
    let (size, full) = (target.original_size, target.file_size());
    let [left, top, right, bottom] = target.crop.map_or([0.0; 4], |crop| crop.edges());
    let beyond = match target.crop {
        None => format!("image of {}x{} pixels (height x width)", full.0, full.1),
        Some(_) => format!("field of view [{left}, {top}, {right}, {bottom}]"),
    };
    let Some(ImagePrompts::Objects(prompts)) = &mut target.prompts else { return Vec::new() };
    let clip = |(i, prompt): (usize, &mut ObjectPrompt)| {
        // A box entirely outside the image is refused as it was given.
        prompt.check(size).ok()?;
        let [x0, y0, x1, y1] = prompt.clip_box(size)?;
        let [x0, y0, x1, y1] = [x0 + left, y0 + top, x1 + left, y1 + top];
        let name = prompt.name.as_deref().map_or_else(String::new, |name| format!(" (\"{name}\")"));
        Some(format!(
            "{file}: the box [{x0}, {y0}, {x1}, {y1}] of prompt {}{name} reaches beyond the {beyond} and was clipped",
            i + 1
        ))
    };
    prompts.iter_mut().enumerate().filter_map(clip).collect()
}
