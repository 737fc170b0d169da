//! The threads of a loader.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{
    bad::{BadImage, Filled, Place, fill},
    prepare::{Plan, Prepared, assemble, complete, largest, stacked},
    share::{Sharing, Turns, elsewhere},
};
use crate::batch::Batch;
use sonotune_base::panics::catching;
use sonotune_dataset::Dataset;

/// A batch whose images are being prepared, by several threads in any order.
#[derive(Debug)]
struct Pending {
    step: u64,
    seed: u64,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
struct Slots {
    filled: Vec<Option<Result<Filled>>>,
    missing: usize,
}

/// One image to prepare.
#[derive(Debug)]
struct Job {
    batch: Arc<Pending>,
    slot: usize,
    place: Place,
}

/// A complete batch.
#[derive(Debug)]
pub(super) struct Finished {
    /// `None` when every image of it was skipped.
    pub(super) batch: Option<Batch>,
    /// Dataset index of each of its images.
    pub(super) records: Vec<usize>,
    /// Those skipped, in the order of their positions; with several processes, by all of them.
    pub(super) bad: Vec<BadImage>,
}

/// Threads that prepare images and hand over whole batches.
#[derive(Debug)]
pub(super) struct Workers {
    /// `None` once closing.
    jobs: Option<Sender<Job>>,
    finished: Receiver<(u64, Result<Finished>)>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share while they work.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// In which the batches that processes share are completed.
    turns: Turns,
    busy_nanoseconds: AtomicU64,
    images: AtomicU64,
}

impl Workers {
    /// Starts `count` threads; the first batch will be that of step `first`.
    pub(super) fn start(
        count: usize,
        plan: &Arc<Plan>,
        dataset: &Arc<Dataset>,
        first: u64,
    ) -> Result<Self> {
        // Unbounded, since the loader issues no more than it may have under way.
        let (jobs, job_source) = unbounded::<Job>();
        let (finish, finished) = unbounded();
        let turns = Turns::starting_at(first);
        let shared = Arc::new(Shared { turns, ..Shared::default() });
        let mut workers = Self { jobs: Some(jobs), finished, shared, threads: Vec::new() };
        for index in 0..count {
            let (source, finish) = (job_source.clone(), finish.clone());
            let (plan, dataset) = (Arc::clone(plan), Arc::clone(dataset));
            let shared = Arc::clone(&workers.shared);
            let thread = thread::Builder::new()
                .name(format!("loader-{index}"))
                .spawn(move || serve(&plan, &dataset, &source, &finish, &shared))
                .with_context(|| cannot_start(index, count))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Queues a batch.
    pub(super) fn submit(&self, step: u64, places: Vec<Place>, seed: u64) -> Result<()> {
        let slots = Slots { filled: places.iter().map(|_| None).collect(), missing: places.len() };
        let batch = Arc::new(Pending { step, seed, slots: Mutex::new(slots) });
        let jobs = self.jobs.as_ref().context("the loader is closing")?;
        for (slot, place) in places.into_iter().enumerate() {
            let job = Job { batch: Arc::clone(&batch), slot, place };
            jobs.send(job).map_err(|_| anyhow!("all loader threads have ended"))?;
        }
        Ok(())
    }

    /// The next batch to be finished, of any step; `None` when all threads have ended.
    pub(super) fn receive(&self) -> Option<(u64, Result<Finished>)> {
        self.finished.recv().ok()
    }

    pub(super) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Time that all threads together have spent on images, including reading them, and the number of
    /// images.
    pub(super) fn work_done(&self) -> (Duration, u64) {
        let busy = self.shared.busy_nanoseconds.load(Ordering::Relaxed);
        (Duration::from_nanos(busy), self.shared.images.load(Ordering::Relaxed))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // Its panics are caught and were sent on; another one cannot be reported.
            drop(thread.join());
        }
    }
}

fn cannot_start(index: usize, count: usize) -> String {
    format!(
        "cannot start loader thread {} of {count}; lower loader.num_workers, or allow this \
         user more threads (`ulimit -u`)",
        index + 1
    )
}

/// The main loop of a thread.
fn serve(
    plan: &Plan,
    dataset: &Dataset,
    jobs: &Receiver<Job>,
    finish: &Sender<(u64, Result<Finished>)>,
    shared: &Shared,
) {
    // Otherwise each would use all cores for what a task prepares. A refusal would cost time alone.
    let _ = sonotune_shim::compute_alone();
    for job in jobs {
        // Batches under way are still shared when the loader closes, without their images: each process
        // waits for the others.
        if shared.stop.load(Ordering::Relaxed) && plan.exchange().is_none() {
            return;
        }
        let (step, started) = (job.batch.step, Instant::now());
        // A batch that lost its thread would be waited for forever.
        let gave_up = || "a loader thread gave up".to_owned();
        let done = catching(gave_up, || work(plan, dataset, &job, shared).transpose()).transpose();
        let busy = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        shared.busy_nanoseconds.fetch_add(busy, Ordering::Relaxed);
        shared.images.fetch_add(1, Ordering::Relaxed);
        if let Some(done) = done {
            // Nobody listens any more when the loader has been dropped.
            drop(finish.send((step, done)));
        }
    }
}

/// Prepares one image; if it was the last of its batch, the batch.
fn work(plan: &Plan, dataset: &Dataset, job: &Job, shared: &Shared) -> Option<Result<Finished>> {
    let Job { batch, slot, place } = job;
    let filled = if shared.stop.load(Ordering::Relaxed) {
        Err(anyhow!("the loader has been closed"))
    } else {
        // A panic here is the image's own error, and its neighbours are not kept waiting.
        catching(|| "cannot be prepared".to_owned(), || fill(plan, dataset, *place))
    };
    let filled = filled.map_err(|error| {
        let first = plan.share.own(plan.loader.batch_size).start;
        let (image, of) = (first + slot + 1, plan.loader.batch_size);
        let (batch, position) = (batch.step, place.position);
        error.context(format!("batch {batch}, image {image} of {of} (position {position})"))
    });
    let all = {
        let mut slots = batch.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.filled[*slot] = Some(filled);
        slots.missing -= 1;
        if slots.missing > 0 {
            return None;
        }
        std::mem::take(&mut slots.filled)
    };
    // The first bad image of the batch is reported, whichever was decoded first.
    let all: Result<Vec<Filled>> = all.into_iter().flatten().collect();
    Some(match plan.exchange() {
        None => all.and_then(|all| finish(plan, all, batch.seed)),
        Some(exchange) => {
            let sharing = Sharing { share: &plan.share, exchange, dataset };
            finish_shared(plan, sharing, all, batch, &shared.turns)
        }
    })
}

fn finish(plan: &Plan, all: Vec<Filled>, seed: u64) -> Result<Finished> {
    let Taken { records, images, bad } = take(all);
    if images.is_empty() {
        return Ok(Finished { batch: None, records, bad });
    }
    let batch = catching(assembling, || assemble(plan, images, seed))?;
    Ok(Finished { batch: Some(batch), records, bad })
}

/// The same for a batch that processes share.
fn finish_shared(
    plan: &Plan,
    sharing: Sharing<'_>,
    all: Result<Vec<Filled>>,
    Pending { step, seed, .. }: &Pending,
    turns: &Turns,
) -> Result<Finished> {
    let turn = turns.wait(*step);
    let found = sharing.decoded(all, |filled| {
        largest(filled.iter().filter_map(|filled| Some(&filled.image.as_ref()?.1)))
    })?;
    let (is_complete, largest, bad) = (found.is_complete, found.size, found.bad);
    let Taken { records, images, .. } = take(found.filled);
    if !is_complete {
        // More images are bad than may be skipped, which the step's turn reports on every process.
        return Ok(Finished { batch: None, records, bad });
    }
    let batch = catching(assembling, || stacked(plan, images, *seed, largest));
    let (batch, elsewhere) = match plan.preparation.as_ref().filter(|_| plan.train) {
        None => (batch?, elsewhere(&plan.share, plan.loader.batch_size)),
        Some(preparation) => {
            let counts = batch.as_ref().map_err(|error| anyhow!("{error:#}"));
            let counts =
                counts.and_then(|batch| catching(assembling, || preparation.counts(batch)));
            let elsewhere = sharing.counted(counts)?;
            (batch?, elsewhere)
        }
    };
    // Drawing takes long and concerns nobody else.
    drop(turn);
    let mut batch = Batch { elsewhere, ..batch };
    catching(assembling, || complete(plan, &mut batch))?;
    Ok(Finished { batch: Some(batch), records, bad })
}

/// The images of a batch, their places in the dataset, and those that were skipped.
struct Taken {
    records: Vec<usize>,
    images: Vec<Prepared>,
    bad: Vec<BadImage>,
}

fn take(all: Vec<Filled>) -> Taken {
    let mut taken = Taken { records: Vec::new(), images: Vec::new(), bad: Vec::new() };
    for filled in all {
        taken.bad.extend(filled.bad);
        if let Some((record, prepared)) = filled.image {
            taken.records.push(record);
            taken.images.push(prepared);
        }
    }
    taken
}

fn assembling() -> String {
    "assembling a batch failed".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::{LoadPlan, LoaderConfig, buffers::Buffers};
    use sonotune_dataset::{
        InputSpec, TargetNeeds,
        transforms::{AugmentConfig, Augmentation, PreprocessConfig},
    };

    fn plan() -> Arc<Plan> {
        let plan = LoadPlan {
            preprocess: PreprocessConfig::default(),
            augment: AugmentConfig::default(),
            loader: LoaderConfig::default(),
            spec: InputSpec {
                pixel_mean: [100.0; 3],
                pixel_std: [50.0; 3],
                square_size: None,
                divisor: 16,
            },
            needs: TargetNeeds::ImageLabels,
            seed: 0,
            embeddings: None,
            pixels: Default::default(),
            preparation: None,
            reader: Default::default(),
            share: Default::default(),
        };
        Arc::new(Plan { plan, train: true, buffers: Buffers::default() })
    }

    #[test]
    fn a_panic_is_the_error_of_its_batch_and_the_thread_lives_on() {
        let workers = Workers::start(1, &plan(), &Arc::new(Dataset::default()), 0).unwrap();
        for step in 0..2 {
            // Our own bug: there is no such record.
            let place = Place { position: 7, record: 3, change: Augmentation::default() };
            workers.submit(step, vec![place], 0).unwrap();
            let (done, finished) = workers.receive().unwrap();
            let error = format!("{:#}", finished.unwrap_err());
            let expected =
                format!("batch {step}, image 1 of 8 (position 7): cannot be prepared: index");
            assert!(done == step && error.starts_with(&expected), "{error}");
        }
        assert_eq!(workers.work_done().1, 2);
    }

    #[test]
    fn a_thread_that_cannot_start_names_the_key() {
        let text = cannot_start(4, 64);
        assert!(text.contains("thread 5 of 64") && text.contains("loader.num_workers"), "{text}");
    }
}
