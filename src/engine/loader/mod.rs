//! Batches in order, prepared ahead by worker threads.
//!
//! The content of a batch is a pure function of the plan's seed and the step, never of timing or
//! of the number of threads: training step `s` takes positions `s·B .. (s+1)·B` of the
//! concatenated permutations of all epochs. A batch may thus end one epoch and begin the next; no
//! image is dropped, and a loader that starts at step `s` continues one that stopped there.
//! With several processes, each prepares its [`Share`] of the same batches.
//!
//! ```text
//! next() ──issues──▶ jobs (one per image) ─▶ workers: decode, resize
//!    ▲                                          │ the last image of a batch
//!    └──── in order ◀── finished batches ◀──────┘ normalises and pads them all
//! ```

mod bad;
mod buffers;
mod config;
mod order;
mod prepare;
mod share;
pub mod starved;
pub mod target;
mod workers;

pub use crate::pixels::Pixels;
pub use bad::{BadImage, Skipped};
pub use config::{BadImages, LoaderConfig};
pub use prepare::{Seen, check_size, evaluation_target};

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, anyhow};

use crate::loader::{
    bad::{Met, Place},
    buffers::Buffers,
    order::Order,
    starved::Load,
    workers::{Finished, Workers},
};
use crate::{
    batch::{Batch, Preparation},
    embedding_cache::Embeddings,
    parallel::Share,
};
use sonotune_base::{
    Error,
    seed::{BATCH, Rng},
};
use sonotune_dataset::{
    Dataset, InputSpec, Record, TargetNeeds,
    pixels::Reader,
    transforms::{AugmentConfig, Augmentation, PreprocessConfig},
};

/// Everything that decides what a batch holds, and how many threads prepare it.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    pub preprocess: PreprocessConfig,
    /// Ignored outside training.
    pub augment: AugmentConfig,
    pub loader: LoaderConfig,
    pub spec: InputSpec,
    pub needs: TargetNeeds,
    pub seed: u64,
    /// The form of the images until [`Batch::to_place`].
    pub pixels: Pixels,
    /// Run on each training batch.
    pub preparation: Option<Arc<dyn Preparation>>,
    /// Read instead of the images, if present.
    pub embeddings: Option<Arc<Embeddings>>,
    /// Keeps clips open from one frame to the next, for all loaders of the plan.
    pub reader: Arc<Reader>,
    /// The part of a training batch that this process prepares, and the evaluation batches that it
    /// has.
    pub share: Share,
}

/// An iterator over batches. Dropping it stops and joins its threads.
///
/// An image that cannot be used is an error of its step; if there are several, the first in order is
/// reported. The loader goes on with the next step if asked to. With `loader.bad_images = "skip"`,
/// another image takes its place in training, also a pure function of seed and position, and an
/// evaluation leaves it out.
#[derive(Debug)]
pub struct Loader {
    plan: Arc<prepare::Plan>,
    dataset: Arc<Dataset>,
    order: Order,
    workers: Workers,
    /// Batches finished before their turn.
    early: BTreeMap<u64, Result<Finished>>,
    next: u64,
    issued: u64,
    /// From one batch of this process to its next: evaluation deals out whole batches.
    stride: u64,
    /// One past the last step; `None` in training, which never ends.
    end: Option<u64>,
    /// Whether every image is mirrored; not used in training.
    mirrored: bool,
    met: Met,
    /// Dataset index of each image of the batch handed out last.
    records: Vec<usize>,
}

/// Which images a loader hands out.
#[derive(Debug, Clone, Copy)]
enum Pass {
    Train { start_step: u64 },
    Once { mirrored: bool },
}

impl Loader {
    /// Endless batches for training, from step `start_step` (0-based) on: shuffled if the plan
    /// says so, and augmented.
    ///
    /// # Errors
    /// A config error if the plan contradicts itself or the backbone; a data error if the dataset has
    /// no images.
    pub fn train(dataset: Arc<Dataset>, plan: LoadPlan, start_step: u64) -> Result<Self> {
        Self::start(dataset, plan, Pass::Train { start_step })
    }

    /// Every image once, in file order, not augmented; the last batch may be smaller. With several
    /// processes, each has every `world_size`-th batch, from that of its rank on.
    ///
    /// # Errors
    /// Same errors as [`train`](Self::train).
    pub fn eval(dataset: Arc<Dataset>, plan: LoadPlan) -> Result<Self> {
        Self::start(dataset, plan, Pass::Once { mirrored: false })
    }

    /// Same as [`eval`](Self::eval), with every image mirrored left to right.
    ///
    /// # Errors
    /// Same errors as [`train`](Self::train).
    pub fn mirrored(dataset: Arc<Dataset>, plan: LoadPlan) -> Result<Self> {
        Self::start(dataset, plan, Pass::Once { mirrored: true })
    }

    fn start(dataset: Arc<Dataset>, plan: LoadPlan, pass: Pass) -> Result<Self> {
        check(&plan, &dataset)?;
        check_share(&plan, pass)?;
        let Share { rank, world_size, .. } = plan.share;
        let (train, start, mirrored) = match pass {
            Pass::Train { start_step } => (true, start_step, false),
            Pass::Once { mirrored } => (false, rank as u64, mirrored),
        };
        let stride = if train { 1 } else { world_size as u64 };
        let images = dataset.records.len();
        let end = (!train).then(|| images.div_ceil(plan.loader.batch_size) as u64);
        let order = Order::new(images, train && plan.loader.shuffle, plan.seed);
        let threads = num_threads(&plan);
        let plan = Arc::new(prepare::Plan { plan, train, buffers: Buffers::default() });
        let workers = Workers::start(threads, &plan, &dataset, start)?;
        let early = BTreeMap::new();
        let (next, issued) = (start, start);
        let (met, records) = (Met::default(), Vec::new());
        let mut loader = Self {
            plan,
            dataset,
            order,
            workers,
            early,
            next,
            issued,
            stride,
            end,
            mirrored,
            met,
            records,
        };
        loader.issue()?;
        Ok(loader)
    }

    /// Dataset index of each image of the batch that [`next`](Iterator::next) gave last.
    #[must_use]
    pub fn records(&self) -> &[usize] {
        &self.records
    }

    /// Images that were skipped for the first time since the last call.
    pub fn newly_skipped(&mut self) -> Vec<BadImage> {
        self.met.take_news()
    }

    /// Counts images that an earlier part of this run has skipped.
    pub fn know_skipped(&mut self, images: impl IntoIterator<Item = BadImage>) {
        images.into_iter().for_each(|image| self.met.know(image));
    }

    /// Counts images that another process has skipped.
    ///
    /// # Errors
    /// A data error if there are more than may be skipped in all.
    pub fn count_skipped(&mut self, images: Vec<BadImage>) -> Result<()> {
        self.met.count(images, &self.plan, self.dataset.records.len())
    }

    /// The number of the batch that [`next`](Iterator::next) gave last, from 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.next.saturating_sub(self.stride)
    }

    /// What the threads have done so far.
    #[must_use]
    pub fn load(&self) -> Load {
        let (busy, images) = self.workers.work_done();
        Load { busy_seconds: busy.as_secs_f64(), images, workers: self.workers.count() }
    }

    /// Hands out work until enough batches are under way.
    fn issue(&mut self) -> Result<()> {
        let ahead = self.plan.loader.prefetch_batches.max(1) as u64;
        let until = self.next.saturating_add(ahead * self.stride);
        let until = self.end.unwrap_or(u64::MAX).min(until);
        while self.issued < until {
            let (places, seed) = (self.places(self.issued), batch_seed(&self.plan, self.issued));
            self.workers.submit(self.issued, places, seed)?;
            self.issued += self.stride;
        }
        Ok(())
    }

    /// Dataset index and changes of every image of a step.
    fn places(&mut self, step: u64) -> Vec<Place> {
        let plan = &self.plan;
        let size = plan.loader.batch_size;
        let first = step * size as u64;
        let positions = match self.end {
            None => {
                let own = plan.share.own(size);
                first + own.start as u64..first + own.end as u64
            }
            Some(_) => first..(first + size as u64).min(self.dataset.records.len() as u64),
        };
        let change = |position: u64| match self.end {
            None => Augmentation::draw(&plan.augment, plan.seed, position),
            Some(_) => Augmentation { flip: self.mirrored, jitter: None },
        };
        let order = &mut self.order;
        positions
            .map(|position| Place {
                position,
                record: order.at(position),
                change: change(position),
            })
            .collect()
    }

    /// The batch of step `self.next`, waiting for it if need be.
    fn take(&mut self) -> Result<Finished> {
        loop {
            if let Some(batch) = self.early.remove(&self.next) {
                return batch;
            }
            let Some((step, batch)) = self.workers.receive() else {
                return Err(anyhow!("all loader threads have ended before step {}", self.next));
            };
            self.early.insert(step, batch);
        }
    }

    /// Records what was skipped; returns what is left of the batch, if anything.
    fn account(&mut self, finished: Finished) -> Result<Option<Batch>> {
        self.met.count(finished.bad, &self.plan, self.dataset.records.len())?;
        self.records = finished.records;
        Ok(finished.batch)
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.end.is_none_or(|end| self.next < end) {
            let finished = self.take();
            self.next += self.stride;
            let batch = self.issue().and(finished).and_then(|finished| self.account(finished));
            // Nothing is left of a batch whose images were all skipped.
            if let Some(batch) = batch.transpose() {
                return Some(batch);
            }
        }
        None
    }
}

/// Prepares `records` as one batch of an evaluation, on this thread.
///
/// # Errors
/// If the plan contradicts itself or the backbone, or an image cannot be read; names it.
pub fn prepare_batch(records: &[Record], plan: &LoadPlan) -> Result<Batch> {
    plan.preprocess.validate(&plan.spec)?;
    let plan = prepare::Plan { plan: plan.clone(), train: false, buffers: Buffers::default() };
    let prepared = records
        .iter()
        .map(|record| prepare::prepare(&plan, record, Augmentation::default()))
        .collect::<Result<Vec<_>>>()?;
    prepare::assemble(&plan, prepared, batch_seed(&plan, 0))
}

fn batch_seed(plan: &LoadPlan, step: u64) -> u64 {
    Rng::at(plan.seed, &[BATCH, step]).next_u64()
}

fn check(plan: &LoadPlan, dataset: &Dataset) -> Result<()> {
    plan.preprocess.validate(&plan.spec)?;
    plan.augment.validate()?;
    if plan.embeddings.is_some() && plan.augment.scale_range.is_some() {
        return Err(Error::config(
            "augment.scale_range cannot be combined with embedding_cache: no embedding fits a random part",
        )
        .into());
    }
    if plan.loader.batch_size == 0 {
        return Err(Error::config("loader.batch_size = 0: expected at least 1").into());
    }
    if dataset.records.is_empty() {
        let source = dataset.source.display();
        return Err(Error::data(format!("{source}: the split has no images")).into());
    }
    Ok(())
}

/// In training, each process needs an image.
fn check_share(plan: &LoadPlan, pass: Pass) -> Result<()> {
    let (size, world_size) = (plan.loader.batch_size, plan.share.world_size);
    if matches!(pass, Pass::Once { .. }) || size >= world_size {
        return Ok(());
    }
    Err(Error::config(format!(
        "loader.batch_size = {size} is the number of images that a step sees in all, too few for \
         {world_size} processes: start at most {size}, or raise loader.batch_size"
    ))
    .into())
}

/// More than 8 threads rarely help and cost memory. Processes of one machine share its processors.
fn num_threads(plan: &LoadPlan) -> usize {
    match plan.loader.num_workers {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            (cores / plan.share.local_world_size).clamp(1, 8)
        }
        n => n,
    }
}
