//! The threads of a loader.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, Sender, unbounded};

use super::prepare::{Plan, Prepared, assemble, prepare};
use crate::data::{Batch, Dataset, image_io::panic_text, transforms::Augmentation};

/// A batch whose images are being prepared, by several threads in any order.
#[derive(Debug)]
struct Pending {
    step: u64,
    seed: u64,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
struct Slots {
    images: Vec<Option<Result<Prepared>>>,
    missing: usize,
}

/// One image to prepare.
#[derive(Debug)]
struct Job {
    batch: Arc<Pending>,
    slot: usize,
    record: usize,
    change: Augmentation,
}

/// Threads that prepare images and hand over whole batches.
#[derive(Debug)]
pub(super) struct Workers {
    /// `None` once closing.
    jobs: Option<Sender<Job>>,
    finished: Receiver<(u64, Result<Batch>)>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(count: usize, plan: &Arc<Plan>, dataset: &Arc<Dataset>) -> Result<Self> {
        // Unbounded, since the loader issues no more than it may have under way.
        let (jobs, job_source) = unbounded::<Job>();
        let (finish, finished) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Self { jobs: Some(jobs), finished, stop, threads: Vec::new() };
        for index in 0..count {
            let (source, finish) = (job_source.clone(), finish.clone());
            let (plan, dataset) = (Arc::clone(plan), Arc::clone(dataset));
            let stop = Arc::clone(&workers.stop);
            let thread = std::thread::Builder::new()
                .name(format!("loader-{index}"))
                .spawn(move || {
                    for job in source {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        if let Some(done) = work(&plan, &dataset, job) {
                            // Nobody listens any more when the loader has been dropped.
                            drop(finish.send(done));
                        }
                    }
                })
                .context("cannot start a loader thread (loader.num_workers)")?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Queues a batch: dataset index and changes of each of its images.
    pub(super) fn submit(
        &self,
        step: u64,
        images: Vec<(usize, Augmentation)>,
        seed: u64,
    ) -> Result<()> {
        let slots = Slots { images: images.iter().map(|_| None).collect(), missing: images.len() };
        let batch = Arc::new(Pending { step, seed, slots: Mutex::new(slots) });
        let jobs = self.jobs.as_ref().context("the loader is closing")?;
        for (slot, (record, change)) in images.into_iter().enumerate() {
            let job = Job { batch: Arc::clone(&batch), slot, record, change };
            jobs.send(job).map_err(|_| anyhow!("all loader threads have ended"))?;
        }
        Ok(())
    }

    /// The next batch to be finished, of any step; `None` when all threads have ended.
    pub(super) fn receive(&self) -> Option<(u64, Result<Batch>)> {
        self.finished.recv().ok()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A worker's panics are caught per image; there is nobody to tell about another.
            drop(thread.join());
        }
    }
}

/// Prepares one image; if it was the last of its batch, the batch.
fn work(plan: &Plan, dataset: &Dataset, job: Job) -> Option<(u64, Result<Batch>)> {
    let Job { batch, slot, record, change } = job;
    let prepared = prepare(plan, &dataset.records[record], change);
    let images = {
        let mut slots = batch.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.images[slot] = Some(prepared);
        slots.missing -= 1;
        if slots.missing > 0 {
            return None;
        }
        std::mem::take(&mut slots.images)
    };
    // The first bad image of the batch speaks for it, whichever was decoded first.
    let prepared: Result<Vec<_>> = images.into_iter().flatten().collect();
    let assembled = prepared.and_then(|images| {
        catch_unwind(AssertUnwindSafe(|| assemble(plan, images, batch.seed))).unwrap_or_else(
            |panic| Err(anyhow!("assembling a batch failed: {}", panic_text(&*panic))),
        )
    });
    Some((batch.step, assembled))
}
