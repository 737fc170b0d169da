//! `train --dry-run`: a run's largest batch, forward and backward, and what the whole run would take.
//! Nothing is written.

mod advice;
mod memory;
mod report;
mod together;

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use sonotune_base::words::bytes;
use tch::Device;

use super::{
    embed::num_embeddings,
    encoder::Encoder,
    largest_batch::{LargestBatch, largest},
    model::{Model, decided_by_weights},
    prepared::{self, Prepared, Start},
    splits::Splits,
    trial::{self, prepare_usable},
};
use crate::config::{Loaded, RunConfig, known_keys};
pub use crate::dry_run::report::{DryRunReport, Embedding, Loading, Memory, Timing, TriedBatch};
pub use crate::dry_run::together::Together;
use crate::dry_run::{
    advice::{Situation, advice},
    memory::{Meter, is_out_of_memory},
    together::Alone,
};
use sonotune_base::{Error, panics::catching, stop::StopFlag};
use sonotune_dataset::{Dataset, transforms::PadTo};
use sonotune_engine::{
    batch::Batch,
    checkpoint::{Snapshot, State},
    device::Local,
    loader::{LoadPlan, Loader},
    optim::groups,
    parallel::{Gradients, Ranks},
    trainer::Trainer,
};

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub struct DryRunOptions {
    /// Steps that are timed, after one that is not.
    pub steps: u64,
    /// Run the whole batch on the CPU even if it is not expected to fit into memory.
    pub anyway: bool,
}

/// Builds everything for the run that `loaded` describes, and runs its largest batch. If there are several processes,
/// each runs its part of it: on its own first, then together with the others.
///
/// # Errors
/// Anything that would keep the run from starting, or stop it at its first step or evaluation. A run
/// that does not fit is not an error; the report says so.
pub fn dry_run(loaded: &Loaded, options: DryRunOptions, ranks: &Ranks) -> Result<DryRunReport> {
    ranks.close(dry_run_together(loaded, options, ranks))
}

fn dry_run_together(
    loaded: &Loaded,
    options: DryRunOptions,
    ranks: &Ranks,
) -> Result<DryRunReport> {
    let decided = ranks.agree(decided_by_weights(loaded))?;
    let loaded = decided.as_ref().map_or(loaded, |decided| &decided.loaded);
    let config = &loaded.config;
    let prepared = ranks.agree(Prepared::new(config, Start::Config, ranks.local()))?;
    let Prepared { model, splits, optimizer, ema, .. } = prepared;
    let Splits { train: train_set, val: val_set, notes } = splits;
    let weights = match &prepared.weights {
        Some(report) => report.summary().trim_end().to_owned(),
        None => format!("weights: none given; random start with seed {}", config.seed),
    };
    let progress = prepared::start(&model);
    let state =
        State { vs: &model.vs, optimizer: &optimizer, ema: ema.as_ref(), progress: &progress };
    let checkpoint_bytes = Snapshot::live(&state).bytes(false)?;
    let (trainable, parameters) = model.num_parameters();
    let mut trying = Trying {
        loaded,
        plan: part_of(model.load_plan(), ranks),
        local: ranks.local(),
        trainer: prepared::trainer(&model, optimizer, ema),
        model: &model,
        step: 0,
        held_by_others: None,
    };
    let mut report = DryRunReport::new(config, train_set.records.len());
    report.device = prepared.device.describe();
    report.weights = weights;
    report.notes = notes.into_iter().chain(prepared.device.notes).collect();
    (report.parameters, report.trainable) = (parameters, trainable);
    report.checkpoint_bytes = checkpoint_bytes;
    report.weights_bytes = model.vs.variables().values().map(memory::size).sum();
    report.free_bytes = sonotune_base::fs::free_space(&config.run_dir);
    trying.all(&mut report, &train_set, val_set.as_ref(), (options, ranks))?;
    report.conclude(config);
    Ok(report)
}

/// The plan for the largest part of a batch that a process has.
fn part_of(mut plan: LoadPlan, ranks: &Ranks) -> LoadPlan {
    plan.loader.batch_size = plan.loader.batch_size.div_ceil(ranks.world_size());
    plan
}

/// The largest batch, which fits.
struct Tried {
    batch: Batch,
}

/// The parts of a run that are tried.
struct Trying<'a> {
    loaded: &'a Loaded,
    plan: LoadPlan,
    trainer: Trainer<'a>,
    model: &'a Model<'a>,
    step: u64,
    /// Processes of this machine share its memory.
    local: Local,
    /// Bytes of the device that other processes hold, if they are many.
    held_by_others: Option<u64>,
}

impl<'a> Trying<'a> {
    fn config(&self) -> &RunConfig {
        &self.loaded.config
    }

    fn all(
        &mut self,
        report: &mut DryRunReport,
        train_set: &Arc<Dataset>,
        val_set: Option<&Arc<Dataset>>,
        (options, ranks): (DryRunOptions, &'a Ranks),
    ) -> Result<()> {
        let tried = ranks.agree(self.on_its_own(report, train_set, val_set, options))?;
        let alone = Alone { fits: report.fits, seconds: report.step.map(|step| step.seconds) };
        if ranks.is_alone() {
            return Ok(());
        }
        let batch = tried.map(|tried| tried.batch);
        let timed = self.together(ranks, alone, |trying| {
            let batch = batch.as_ref().context("nothing was tried")?;
            trying.timed_steps(batch, options.steps)
        })?;
        let peak = Meter::new(self.model.device()).peaks().0;
        let peaks = ranks.tell(peak)?;
        if let Some((timing, together)) = timed {
            let images =
                self.config().train.accumulate_batches * self.config().loader.batch_size as u64;
            let images_per_second = images as f64 / timing.seconds;
            report.step = Some(Timing { images_per_second, ..timing });
            report.together = Some(Together { peak_bytes: peaks, ..together });
        }
        Ok(())
    }

    /// Without other processes; returns what was tried if it fits.
    fn on_its_own(
        &mut self,
        report: &mut DryRunReport,
        train_set: &Arc<Dataset>,
        val_set: Option<&Arc<Dataset>>,
        options: DryRunOptions,
    ) -> Result<Option<Tried>> {
        let (largest, batch) = self.largest_batch(train_set)?;
        report.describe_batch(largest, &batch);
        let meter = Meter::new(self.model.device());
        report.memory.total_bytes = meter.total();
        self.held_by_others = meter.held_by_others();
        let one = self.peak_of_one_image(&meter, &batch)?;
        if !self.expected_to_fit(report, (&meter, one), &batch, options)? {
            return Ok(None);
        }
        let encoder = match &self.config().embedding_cache {
            Some(_) => Some(Encoder::new(self.model)?),
            None => None,
        };
        let batch = match &encoder {
            Some(encoder) => {
                let num_images =
                    num_embeddings(train_set, val_set.map(AsRef::as_ref), &self.plan.augment);
                let (batch, seconds) = self.embedded(encoder, batch)?;
                let seconds_per_image = seconds / batch.targets.len().max(1) as f64;
                report.embeddings = Some(Embedding { num_images, seconds_per_image });
                batch
            }
            None => batch,
        };
        match self.timed_steps(&batch, options.steps) {
            Ok(timing) => report.step = Some(timing),
            Err(error) if is_out_of_memory(&error) => {
                drop(batch);
                self.does_not_fit(report, train_set)?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        (report.memory.peak_bytes, report.memory.reserved_bytes) = meter.peaks();
        report.memory.largest_batch_size = self.largest_batch_size(&report.memory, one, &batch);
        if let Some(val_set) = val_set {
            match trial::evaluate(self.model, val_set, &self.plan, encoder.as_ref()) {
                Ok(evaluated) => report.evaluation = Some(evaluated),
                Err(error) if is_out_of_memory(&error) => {
                    report.problems.push(
                        "an evaluation batch does not fit into memory: evaluation.batch_size below \
                         that of training"
                            .to_owned(),
                    );
                    report.fits = false;
                }
                Err(error) => return Err(error),
            }
            (report.memory.peak_bytes, report.memory.reserved_bytes) = meter.peaks();
        }
        // Last: the memory that it leaves to the allocator would hide what a step takes.
        report.loading = Some(self.load(train_set)?);
        Ok(Some(Tried { batch }))
    }

    /// From now on, steps add up the gradients of all processes; returns the size of each part.
    fn share_gradients(&mut self, ranks: &'a Ranks) -> Result<Vec<usize>> {
        ranks.agree(ranks.connect(self.model.device()))?;
        let bucket_bytes = self.config().parallel.bucket_mib << 20;
        let trained = groups::trainable(&self.model.vs);
        let gradients = Gradients::new(ranks, trained, bucket_bytes, StopFlag::default())?;
        let sizes = gradients.as_ref().map(Gradients::bucket_bytes).unwrap_or_default();
        self.trainer.set_shared(gradients);
        Ok(sizes)
    }

    /// The largest batch of training, prepared as training pads it but not augmented.
    fn largest_batch(&self, dataset: &Dataset) -> Result<(LargestBatch, Batch)> {
        let (preprocess, needs) = (&self.plan.preprocess, self.plan.needs);
        // A random crop may fill the whole square.
        let jitters = self.plan.augment.scale_range.is_some();
        let pad_to = if jitters { PadTo::Square } else { preprocess.padding(true) };
        let size = self.plan.loader.batch_size;
        let chosen = largest(dataset, size, preprocess, pad_to, needs);
        let batch = self.prepare(dataset, &chosen.records, pad_to)?;
        Ok((chosen, batch))
    }

    fn prepare(&self, dataset: &Dataset, records: &[usize], pad_to: PadTo) -> Result<Batch> {
        let mut plan = self.plan.clone();
        plan.preprocess.eval_pad_to = Some(pad_to);
        let records: Vec<_> = records.iter().map(|&i| dataset.records[i].clone()).collect();
        prepare_usable(records, &plan)
    }

    /// How fast the loader's threads are when nothing else computes.
    fn load(&self, dataset: &Arc<Dataset>) -> Result<Loading> {
        const SECONDS: f64 = 3.0;
        const BATCHES: u64 = 16;
        let begin = Instant::now();
        let mut images = 0;
        for batch in Loader::train(dataset.clone(), self.plan.clone(), 0)?.take(BATCHES as usize) {
            images += batch?.targets.len() as u64;
            if begin.elapsed().as_secs_f64() > SECONDS {
                break;
            }
        }
        Ok(Loading { images_per_second: images as f64 / begin.elapsed().as_secs_f64() })
    }

    /// Peak of a step with the first image of `batch` alone, if there are more. Before all others: a
    /// process's peak never falls.
    fn peak_of_one_image(&mut self, meter: &Meter, batch: &Batch) -> Result<Option<u64>> {
        if batch.targets.len() < 2 {
            return Ok(None);
        }
        match self.one_step(vec![batch.first(1)]) {
            Ok(_) => Ok(meter.peaks().0),
            // The whole batch will tell.
            Err(error) if is_out_of_memory(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of one image in the batches that the loader has ready. On a GPU they are not in its memory.
    fn ahead(&self, batch: &Batch) -> u64 {
        if self.model.device() != Device::Cpu {
            return 0;
        }
        let images = memory::size(&batch.images) / batch.targets.len().max(1) as u64;
        self.plan.loader.prefetch_batches as u64 * images
    }

    /// The largest batch that fits, by what one image and the whole batch took.
    fn largest_batch_size(&self, found: &Memory, one: Option<u64>, batch: &Batch) -> Option<usize> {
        let whole = (batch.targets.len(), found.peak_bytes?);
        // Fragments between tensors, on a GPU.
        let lost = found.reserved_bytes.unwrap_or(whole.1).saturating_sub(whole.1);
        let available = found.available_bytes?.saturating_sub(lost);
        let most = memory::predicted((one?, whole), self.ahead(batch), available)?;
        // That one has run.
        Some(most.max(whole.0))
    }

    /// Whether to run the whole batch. On the CPU a process that does not fit is killed, so steps with one
    /// and two images first show what the whole batch would take.
    fn expected_to_fit(
        &mut self,
        report: &mut DryRunReport,
        (meter, one): (&Meter, Option<u64>),
        batch: &Batch,
        options: DryRunOptions,
    ) -> Result<bool> {
        let available = meter.available().map(|available| match self.model.device() {
            Device::Cpu => available / self.local.world_size as u64,
            _ => available,
        });
        report.memory.available_bytes = available;
        let (Some(one), Some(available), Device::Cpu) = (one, available, self.model.device())
        else {
            return Ok(true);
        };
        self.one_step(vec![batch.first(2)])?;
        let Some(two) = meter.peaks().0 else { return Ok(true) };
        let (size, ahead) = (batch.targets.len(), self.ahead(batch));
        let expected = memory::extrapolate(one, two.saturating_sub(one), size)
            .saturating_add(ahead * size as u64);
        report.memory.expected_bytes = Some(expected);
        if expected <= available || options.anyway {
            return Ok(true);
        }
        let fits = memory::predicted((one, (2, two)), ahead, available);
        report.fits = false;
        report.problems.push(format!(
            "the batch was not run: judging by steps with one and two images, it would take \
             about {}, but {} are available (--anyway runs it)",
            bytes(expected),
            bytes(available)
        ));
        report.advice = self.advice(fits);
        Ok(false)
    }

    fn one_step(&mut self, batches: Vec<Batch>) -> Result<f64> {
        let begin = Instant::now();
        // Schedules are defined for the run's own steps.
        let step = self.step.min(self.config().train.max_steps.saturating_sub(1));
        let trainer = &mut self.trainer;
        let at_step = || format!("trial step {step}");
        catching(at_step, || {
            trainer.step(step, batches)?;
            // Waits for the device.
            trainer.check_finite()
        })
        .with_context(at_step)?;
        self.step += 1;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// The batch as it comes from the embedding cache, and the seconds that its embeddings took.
    fn embedded(&self, encoder: &Encoder, batch: Batch) -> Result<(Batch, f64)> {
        let begin = Instant::now();
        let batch = encoder.embedded(self.model, batch)?;
        // Waits for the device.
        let _ =
            batch.features.iter().flatten().next().map(|level| level.sum(None).double_value(&[]));
        Ok((batch, begin.elapsed().as_secs_f64()))
    }

    fn timed_steps(&mut self, batch: &Batch, steps: u64) -> Result<Timing> {
        let accumulate = self.config().train.accumulate_batches;
        let batches = || (0..accumulate).map(|_| batch.shallow_clone()).collect::<Vec<_>>();
        let first_seconds = self.one_step(batches())?;
        let mut total = 0.0;
        for _ in 0..steps {
            total += self.one_step(batches())?;
        }
        let images = (accumulate * batch.targets.len() as u64) as f64;
        let seconds = total / steps as f64;
        Ok(Timing { first_seconds, seconds, images_per_second: images / seconds })
    }

    /// After the whole batch did not fit: finds how many images do, by halving.
    fn does_not_fit(&mut self, report: &mut DryRunReport, dataset: &Arc<Dataset>) -> Result<()> {
        report.fits = false;
        let mut fits = 0;
        let (_, batch) = self.largest_batch(dataset)?;
        let mut count = batch.targets.len() / 2;
        while count > 0 {
            memory::give_back(self.model.device());
            match self.one_step(vec![batch.first(count)]) {
                Ok(_) => {
                    fits = count;
                    break;
                }
                Err(error) if is_out_of_memory(&error) => count /= 2,
                Err(error) => return Err(error),
            }
        }
        let size = batch.targets.len();
        report.problems.push(match fits {
            0 => "not even a batch of one image fits into the device's memory".to_owned(),
            n => format!(
                "a batch of {size} images does not fit into the device's memory, one of {n} does"
            ),
        });
        report.advice = self.advice(Some(fits));
        Ok(())
    }

    fn advice(&self, fits: Option<usize>) -> Vec<String> {
        let resolved: toml::Table = self.loaded.resolved.parse().unwrap_or_default();
        let kind =
            resolved.get("backbone").and_then(|b| b.get("type")?.as_str().map(str::to_owned));
        let backbone_keys: BTreeSet<String> = known_keys()
            .into_iter()
            .filter(|key| key.path.starts_with("backbone.") && key.only_for_type == kind)
            .map(|key| key.path)
            .collect();
        advice(&Situation {
            resolved: &resolved,
            backbone_keys: &backbone_keys,
            on_cuda: self.model.device().is_cuda(),
            fits,
            held_by_others: self.held_by_others,
        })
    }
}

/// Refuses a run that does not fit into memory, or whose checkpoints do not fit on the disk.
///
/// # Errors
/// Of kind memory or storage; the report has the details.
pub fn require_ready(report: &DryRunReport, run_dir: &Path) -> Result<()> {
    if !report.fits {
        return Err(Error::memory(
            "the run does not fit into memory; the changes above are in order of cost",
        )
        .into());
    }
    if let Some(missing) = report.missing_bytes() {
        return Err(Error::storage(format!(
            "{}: {} are missing for the run's checkpoints",
            run_dir.display(),
            bytes(missing)
        ))
        .into());
    }
    Ok(())
}
