//! The result of a dry run.

use std::fmt;

use serde::Serialize;
use sonotune_base::words::{abbreviated, bytes, duration, listed};

use super::super::{largest_batch::LargestBatch, trial::EvaluatedBatch};
use super::Together;
use crate::config::RunConfig;
use sonotune_engine::batch::Batch;

/// Figures of a run that has not taken place.
#[derive(Debug, Clone, Serialize)]
pub struct DryRunReport {
    /// Whether the largest batches of training and evaluation fit into memory.
    pub fits: bool,
    /// What does not fit, one sentence each.
    pub problems: Vec<String>,
    /// What is worth a note about the data and the device, one sentence each.
    pub notes: Vec<String>,
    /// What to change, the least costly first.
    pub advice: Vec<String>,
    pub device: String,
    /// What the model starts from.
    pub weights: String,
    pub parameters: usize,
    pub trainable: usize,
    pub batch: Option<TriedBatch>,
    /// With several processes, of all of them together.
    pub step: Option<Timing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<Together>,
    /// With an embedding cache: what filling it takes. Steps and evaluations then read from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<Embedding>,
    pub evaluation: Option<EvaluatedBatch>,
    pub loading: Option<Loading>,
    pub memory: Memory,
    pub checkpoint_bytes: u64,
    /// Size of the model alone, as in the best checkpoint.
    pub weights_bytes: u64,
    /// Free bytes in the file system of the run folder.
    pub free_bytes: Option<u64>,
    pub num_steps: u64,
    pub num_epochs: f64,
    pub num_evaluations: u64,
    /// Duration of the embeddings, steps and evaluations of the whole run; without start-up and writing.
    pub total_seconds: Option<f64>,
    /// Whether the loader's threads keep up with the steps.
    pub loader_keeps_up: Option<bool>,
    /// How many whole checkpoints there are at a time, and how many of the best model, including
    /// those being written.
    #[serde(skip)]
    kept: (u64, u64),
}

/// The batch that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct TriedBatch {
    pub num_images: usize,
    /// Height and width of the network's input in pixels.
    pub input_size: (i64, i64),
    #[serde(flatten)]
    pub largest: LargestBatch,
    pub accumulated: u64,
}

/// The embeddings of a run whose cache is empty.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Embedding {
    /// Mirror images count as images of their own.
    pub num_images: usize,
    pub seconds_per_image: f64,
}

impl Embedding {
    /// Seconds that all of them take.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.num_images as f64 * self.seconds_per_image
    }
}

/// Seconds of an optimiser step, including all accumulated batches.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Timing {
    /// The first step allocates memory and chooses kernels.
    pub first_seconds: f64,
    /// Mean of the steps after it.
    pub seconds: f64,
    pub images_per_second: f64,
}

/// What the loader's threads give when nobody else computes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Loading {
    pub images_per_second: f64,
}

/// Memory in bytes: allocated tensors on a GPU, else the resident set of the process.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    pub peak_bytes: Option<u64>,
    /// Memory that the allocator reserved from a GPU's driver.
    pub reserved_bytes: Option<u64>,
    /// On the CPU: the estimate from steps with one and two images.
    pub expected_bytes: Option<u64>,
    /// What is free, and what the process holds.
    pub available_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    /// Images of the largest batch that is expected to fit, of inputs of the same size.
    pub largest_batch_size: Option<usize>,
}

impl DryRunReport {
    pub(super) fn new(config: &RunConfig, num_images: usize) -> Self {
        let steps = config.train.max_steps;
        let images = steps * config.train.accumulate_batches * config.loader.batch_size as u64;
        let every = config.evaluation.every_steps.unwrap_or(steps).max(1);
        Self {
            fits: true,
            problems: Vec::new(),
            notes: Vec::new(),
            advice: Vec::new(),
            device: String::new(),
            weights: String::new(),
            parameters: 0,
            trainable: 0,
            batch: None,
            step: None,
            together: None,
            embeddings: None,
            evaluation: None,
            loading: None,
            memory: Memory::default(),
            checkpoint_bytes: 0,
            weights_bytes: 0,
            free_bytes: None,
            num_steps: steps,
            num_epochs: images as f64 / num_images as f64,
            num_evaluations: steps.div_ceil(every),
            total_seconds: None,
            loader_keeps_up: None,
            // One more than is kept: a file is replaced only once the new one is complete.
            kept: (
                config.train.keep_checkpoints.clamp(1, steps.max(1)) + 1,
                if config.evaluation.best_metric.is_some() { 2 } else { 0 },
            ),
        }
    }

    pub(super) fn describe_batch(&mut self, largest: LargestBatch, batch: &Batch) {
        let size = batch.images.size();
        self.batch = Some(TriedBatch {
            num_images: batch.targets.len(),
            input_size: (size[2], size[3]),
            largest,
            accumulated: 1,
        });
    }

    /// Derives the conclusions from the figures.
    pub(super) fn conclude(&mut self, config: &RunConfig) {
        let accumulated = config.train.accumulate_batches;
        if let Some(batch) = &mut self.batch {
            batch.accumulated = accumulated;
        }
        let Some(step) = self.step else { return };
        let images = accumulated as f64 * config.loader.batch_size as f64;
        // Each process loads its part, on its own share of the processors.
        let parts = self.together.as_ref().map_or(1.0, |together| together.world_size as f64);
        let loading =
            self.loading.map_or(0.0, |loading| images / parts / loading.images_per_second);
        self.loader_keeps_up = self.loading.map(|_| loading <= step.seconds);
        let evaluation = self.evaluation.as_ref().map_or(0.0, |e| e.seconds * e.num_batches as f64);
        let embeddings = self.embeddings.as_ref().map_or(0.0, Embedding::seconds);
        self.total_seconds = Some(
            embeddings
                + self.num_steps as f64 * step.seconds.max(loading)
                + self.num_evaluations as f64 * evaluation,
        );
    }

    /// Bytes missing in the file system of the run folder for the run's checkpoints.
    #[must_use]
    pub fn missing_bytes(&self) -> Option<u64> {
        let (whole, best) = self.kept;
        let needed =
            self.checkpoint_bytes.saturating_mul(whole) + self.weights_bytes.saturating_mul(best);
        needed.checked_sub(self.free_bytes?).filter(|&missing| missing > 0)
    }

    fn write_batch(&self, f: &mut fmt::Formatter<'_>, batch: &TriedBatch) -> fmt::Result {
        let (height, width) = batch.input_size;
        write!(f, "batch: {} images of {height}x{width}", batch.num_images)?;
        if batch.largest.num_objects > 0 {
            write!(f, " with {} objects", batch.largest.num_objects)?;
        }
        if batch.accumulated > 1 {
            write!(f, ", {} of them per step", batch.accumulated)?;
        }
        writeln!(f, ": the largest that can occur in the run, by {}", batch.largest.chosen_by)
    }

    fn write_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            writeln!(
                f,
                "step: the first {}, then {} ({:.1} images/s)",
                duration(step.first_seconds),
                duration(step.seconds),
                step.images_per_second
            )?;
        }
        for line in self.together.iter().flat_map(Together::lines) {
            writeln!(f, "{line}")?;
        }
        if let Some(embeddings) = self.embeddings {
            writeln!(
                f,
                "embeddings: {:.1} images/s, all {} in about {}, once; a step and an evaluation read them",
                1.0 / embeddings.seconds_per_image.max(1e-9),
                embeddings.num_images,
                duration(embeddings.seconds())
            )?;
        }
        if let Some(loading) = self.loading {
            write!(f, "loader: {:.1} images/s", loading.images_per_second)?;
            match self.loader_keeps_up {
                Some(true) => writeln!(f, ", which keeps up with the steps")?,
                Some(false) => writeln!(
                    f,
                    ", slower than the steps: raise loader.num_workers, or store smaller images"
                )?,
                None => writeln!(f)?,
            }
        }
        if let Some(evaluation) = &self.evaluation {
            let whole = evaluation.seconds * evaluation.num_batches as f64;
            writeln!(
                f,
                "evaluation: a batch of {} in {}, the whole split in about {}; it reports {}",
                evaluation.batch_size,
                duration(evaluation.seconds),
                duration(whole),
                listed(&evaluation.metrics, 6)
            )?;
        }
        Ok(())
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory {
            peak_bytes,
            reserved_bytes,
            expected_bytes,
            available_bytes,
            total_bytes,
            largest_batch_size,
        } = self.memory;
        let parts = [
            peak_bytes.map(|b| format!("peak {}", bytes(b))),
            reserved_bytes.map(|b| format!("{} reserved", bytes(b))),
            expected_bytes.map(|b| format!("about {} expected from small batches", bytes(b))),
            available_bytes.map(|b| format!("{} available", bytes(b))),
            total_bytes.map(|b| format!("{} in total", bytes(b))),
            largest_batch_size.map(|n| format!("enough for batches of about {n} images")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { Ok(()) } else { writeln!(f, "memory: {}", parts.join(", ")) }
    }
}

impl fmt::Display for DryRunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "device: {}", self.device)?;
        writeln!(
            f,
            "model: {} parameters, {} of them trained",
            abbreviated(self.parameters as u64),
            abbreviated(self.trainable as u64)
        )?;
        writeln!(f, "{}", self.weights)?;
        if let Some(batch) = &self.batch {
            self.write_batch(f, batch)?;
        }
        self.write_times(f)?;
        self.write_memory(f)?;
        write!(f, "checkpoint: {}", bytes(self.checkpoint_bytes))?;
        match self.free_bytes {
            Some(free) => writeln!(f, ", {} free where the run folder would be", bytes(free))?,
            None => writeln!(f)?,
        }
        write!(
            f,
            "run: {} steps, {:.1} epochs, {} evaluations",
            self.num_steps, self.num_epochs, self.num_evaluations
        )?;
        match self.total_seconds {
            Some(total) => writeln!(f, "; about {} at this pace", duration(total))?,
            None => writeln!(f)?,
        }
        for problem in &self.problems {
            writeln!(f, "does not fit: {problem}")?;
        }
        for (i, change) in self.advice.iter().enumerate() {
            writeln!(f, "  {}. {change}", i + 1)?;
        }
        writeln!(f, "nothing was written")
    }
}
