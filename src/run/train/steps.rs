//! The step loop: load, step, log; save, evaluate and stop if due.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};

use super::super::{embed, model::Model, skipped::SkippedList, stored_notes::StoredNotes};
use crate::{
    config::RunConfig,
    logging::{RunLogger, StepTime, TrainRecord},
};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_dataset::Dataset;
use sonotune_engine::{
    batch::Batch,
    checkpoint::{Progress, Writer},
    determinism,
    loader::{LoadPlan, Loader, starved::Watch},
    optim::groups,
    parallel::{Phase, Ranks},
    trainer::{StepValues, Trainer},
};
use sonotune_metrics::Report;
use sonotune_run_folder::RunFolder;

/// A training run under way.
pub(super) struct Run<'a> {
    pub(super) writer: Writer,
    pub(super) trainer: Trainer<'a>,
    pub(super) model: &'a Model<'a>,
    pub(super) config: &'a RunConfig,
    pub(super) folder: &'a RunFolder,
    pub(super) logger: &'a RunLogger,
    pub(super) ranks: &'a Ranks,
    pub(super) plan: LoadPlan,
    pub(super) val_set: Option<&'a Arc<Dataset>>,
    pub(super) skipped: SkippedList,
    pub(super) progress: Progress,
    pub(super) last_report: Option<Report>,
    pub(super) started: Instant,
}

impl Run<'_> {
    pub(super) fn run_all_steps(
        &mut self,
        train_set: &Arc<Dataset>,
        stop: &StopFlag,
    ) -> Result<()> {
        self.use_embeddings(train_set, stop)?;
        self.warn_of_little_space()?;
        self.evaluate_if_pending()?;
        let mut feed = self.feed(train_set)?;
        while !self.is_over() {
            let batches = self.load(&mut feed)?;
            let values = self.step(&mut feed, batches)?;
            self.log(&values)?;
            self.writer.poll()?;
            let due = self.due(stop);
            if due.save {
                self.save(&due)?;
            }
            if due.stop {
                return self.stopped();
            }
            self.evaluate_if_pending()?;
        }
        self.writer.wait()?;
        if let Some(reason) = self.early_stop() {
            self.logger.info(&reason);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.progress.step >= self.config.train.max_steps || self.stops_early()
    }

    /// The training batches from the next step on.
    fn feed(&self, train_set: &Arc<Dataset>) -> Result<Feed> {
        let first_batch = self.progress.step * self.config.train.accumulate_batches;
        let mut loader = Loader::train(train_set.clone(), self.plan.clone(), first_batch)?;
        loader.know_skipped(self.skipped.known_to(train_set));
        let (begin, noted_pages) = (Instant::now(), false);
        Ok(Feed { loader, watch: self.watch(), begin, data_seconds: 0.0, noted_pages })
    }

    /// The batches of the next step.
    fn load(&mut self, feed: &mut Feed) -> Result<Vec<Batch>> {
        feed.begin = Instant::now();
        self.ranks.progress(self.progress.step, Phase::Loading);
        let mut batches = Vec::new();
        for _ in 0..self.config.train.accumulate_batches {
            let batch = feed.loader.next().context("the training loader never ends")?;
            self.list_skipped(&mut feed.loader)?;
            let batch = batch.with_context(|| format!("training step {}", self.progress.step))?;
            if !feed.noted_pages {
                let mut targets = batch.targets.iter();
                let note = targets.find_map(|t| StoredNotes::of_file(&t.path, t.stored));
                feed.noted_pages = note.is_some();
                note.iter().for_each(|note| self.logger.warn(note));
            }
            batches.push(batch);
        }
        feed.data_seconds = feed.begin.elapsed().as_secs_f64();
        Ok(batches)
    }

    fn step(&mut self, feed: &mut Feed, batches: Vec<Batch>) -> Result<StepValues> {
        let images = batches.iter().map(|batch| batch.images_of_step() as u64).sum();
        let step = self.progress.step;
        self.ranks.progress(step, Phase::Computing);
        let values = determinism::guarded(
            || format!("training step {step}"),
            || self.trainer.step(step, batches),
        )?;
        self.progress.step += 1;
        let step_seconds = feed.begin.elapsed().as_secs_f64();
        let time = StepTime { step_seconds, data_seconds: feed.data_seconds, images };
        self.logger.tick(self.progress.step, time);
        self.warn_if_starved(feed, time);
        Ok(values)
    }

    /// Fills the embedding cache if there is one, and reads from it from then on.
    fn use_embeddings(&mut self, train_set: &Dataset, stop: &StopFlag) -> Result<()> {
        let Some(cache) = &self.config.embedding_cache else { return Ok(()) };
        let filling = embed::Filling {
            cache,
            model: self.model,
            plan: &self.plan,
            watch: embed::Watch { logger: self.logger, stop },
            ranks: self.ranks,
        };
        self.ranks.progress(self.progress.step, Phase::Embedding);
        let embeddings = filling.fill(train_set, self.val_set.map(AsRef::as_ref))?;
        self.plan.embeddings = Some(Arc::new(embeddings));
        Ok(())
    }

    /// Writes the step's record if one is due.
    fn log(&mut self, values: &StepValues) -> Result<()> {
        let step = self.progress.step;
        let at_end = step == self.config.train.max_steps;
        if step != 1 && !at_end && !step.is_multiple_of(self.config.logging.every_steps) {
            return Ok(());
        }
        self.trainer.check_finite()?;
        let StepValues { losses, scalars, grad_norm } = values.fetch()?;
        self.logger.train_step(&TrainRecord {
            step: self.progress.step,
            losses,
            lrs: self.trainer.learning_rates(self.progress.step - 1),
            grad_norm: Some(grad_norm),
            scalars,
        });
        Ok(())
    }

    /// What is due after the step just made.
    fn due(&self, stop: &StopFlag) -> Due {
        let step = self.progress.step;
        let every = |steps: Option<u64>| steps.is_some_and(|n| step.is_multiple_of(n));
        let at_end = step == self.config.train.max_steps;
        let evaluation = at_end || every(self.config.evaluation.every_steps);
        let stop = self.trainer.agreed_stop().unwrap_or_else(|| stop.is_raised()) && !at_end;
        let save = evaluation || stop || every(self.config.train.checkpoint_every_steps);
        Due { save, evaluation, stop }
    }

    /// Saves the run before its evaluation, so that a failed evaluation loses no steps: a resumed run
    /// catches up on it.
    fn save(&mut self, due: &Due) -> Result<()> {
        // No checkpoint may hold weights that a non-finite value has touched.
        self.trainer.check_finite()?;
        self.ranks.progress(self.progress.step, Phase::Saving);
        self.require_no_drift()?;
        self.progress.evaluation_pending = due.evaluation && self.val_set.is_some();
        self.write_checkpoint(false)
    }

    /// Every process makes the same updates; one whose memory or processor is faulty is noticed here.
    fn require_no_drift(&self) -> Result<()> {
        if self.ranks.is_alone() {
            return Ok(());
        }
        let trained: Vec<_> =
            groups::trainable(&self.model.vs).into_iter().map(|(_, tensor)| tensor).collect();
        let weights = Ranks::fingerprint(&trained)?;
        let what = format!("weights after step {}", self.progress.step);
        self.ranks.require_same(&what, &format!("{weights:?}"))
    }

    /// Evaluates if the checkpoint says so, and saves the result.
    fn evaluate_if_pending(&mut self) -> Result<()> {
        if !self.progress.evaluation_pending {
            return Ok(());
        }
        // An evaluation may need more memory than a step: the process may be killed for it.
        self.writer.wait()?;
        self.ranks.progress(self.progress.step, Phase::Evaluating);
        let is_best = self.evaluate()?;
        self.progress.evaluation_pending = false;
        self.write_checkpoint(is_best)
    }

    /// The end of a run that was asked to stop.
    fn stopped(&mut self) -> Result<()> {
        self.writer.wait()?;
        Err(Error::interrupted(format!(
            "stopped after step {} as asked; everything is saved. Continue with `{}`",
            self.progress.step,
            self.resume_command()
        ))
        .into())
    }
}

/// Where the batches come from, and how long the run waits for them.
pub(super) struct Feed {
    pub(super) loader: Loader,
    pub(super) watch: Watch,
    /// When the loading of the step's batches began.
    begin: Instant,
    data_seconds: f64,
    /// Whether a file with several pages was noted; one is enough.
    noted_pages: bool,
}

/// What is due after a step.
struct Due {
    save: bool,
    evaluation: bool,
    stop: bool,
}
