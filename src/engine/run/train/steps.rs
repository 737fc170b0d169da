//! The step loop: train, log, and where one of these is due evaluate, save and stop.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use tch::Device;

use super::super::{embed, model::Model, skipped::SkippedList};
use crate::{
    Error,
    checkpoint::{Progress, Writer},
    config::RunConfig,
    data::{
        Dataset,
        loader::{LoadPlan, Loader},
    },
    determinism,
    logging::{RunFolder, RunLogger, StepTime, TrainRecord},
    stop::StopFlag,
    task::Report,
    trainer::{StepValues, Trainer},
};

/// A training under way.
pub(super) struct Run<'a> {
    pub(super) writer: Writer,
    pub(super) trainer: Trainer<'a>,
    pub(super) model: &'a Model,
    pub(super) config: &'a RunConfig,
    pub(super) folder: &'a RunFolder,
    pub(super) logger: &'a RunLogger,
    pub(super) device: Device,
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
        let (config, accumulate) = (self.config, self.config.train.accumulate_batches);
        let max_steps = config.train.max_steps;
        let first_batch = self.progress.step * accumulate;
        self.use_embeddings(train_set, stop)?;
        self.warn_of_little_space()?;
        if std::mem::take(&mut self.progress.evaluation_pending) {
            let is_best = self.evaluate()?;
            self.save(is_best)?;
        }
        let mut batches = Loader::train(train_set.clone(), self.plan.clone(), first_batch)?;
        batches.know_skipped(self.skipped.known_to(train_set));
        let mut watch = self.watch();
        while self.progress.step < max_steps && !self.stops_early() {
            let begin = Instant::now();
            let mut step_batches = Vec::new();
            for _ in 0..accumulate {
                let batch = batches.next().context("the training loader never ends")?;
                self.list_skipped(&mut batches)?;
                step_batches.push(batch.with_context(|| self.at_step())?);
            }
            let data_seconds = begin.elapsed().as_secs_f64();
            let images = step_batches.iter().map(|b| b.targets.len() as u64).sum();
            let step = self.progress.step;
            let values = determinism::guarded(|| self.trainer.step(step, step_batches))?;
            self.progress.step += 1;
            let step = self.progress.step;
            let step_seconds = begin.elapsed().as_secs_f64();
            let time = StepTime { step_seconds, data_seconds, images };
            self.logger.tick(step, time);
            self.warn_if_starved(&mut watch, time, &batches);
            if step.is_multiple_of(config.logging.every_steps) || step == max_steps || step == 1 {
                self.log(&values)?;
            }
            self.after_step(stop)?;
        }
        self.writer.wait()?;
        if let Some(reason) = self.early_stop() {
            self.logger.info(&reason);
        }
        Ok(())
    }

    /// Fills the embedding cache if there is one, and reads from it henceforth.
    fn use_embeddings(&mut self, train_set: &Dataset, stop: &StopFlag) -> Result<()> {
        let Some(cache) = &self.config.embedding_cache else { return Ok(()) };
        let filling = embed::Filling {
            config: self.config,
            cache,
            model: self.model,
            device: self.device,
            plan: &self.plan,
            watch: embed::Watch { logger: self.logger, stop },
        };
        let embeddings = filling.fill(train_set, self.val_set.map(AsRef::as_ref))?;
        self.plan.embeddings = Some(Arc::new(embeddings));
        Ok(())
    }

    fn at_step(&self) -> String {
        format!("training step {}", self.progress.step)
    }

    fn log(&mut self, values: &StepValues) -> Result<()> {
        self.trainer.check_finite()?;
        self.logger.train_step(&TrainRecord {
            step: self.progress.step,
            losses: fetch(&values.losses),
            lrs: self.trainer.learning_rates(self.progress.step - 1),
            grad_norm: Some(values.grad_norm.double_value(&[])),
            scalars: fetch(&values.scalars),
        });
        Ok(())
    }

    /// Evaluates, saves and stops where one of these is due.
    fn after_step(&mut self, stop: &StopFlag) -> Result<()> {
        let step = self.progress.step;
        let due = |every: Option<u64>| every.is_some_and(|n| step.is_multiple_of(n));
        let at_end = step == self.config.train.max_steps;
        let evaluates = at_end || due(self.config.evaluation.every_steps);
        let stops = stop.is_raised() && !at_end;
        let saves = evaluates || stops || due(self.config.train.checkpoint_every_steps);
        self.writer.poll()?;
        if saves {
            // No checkpoint may hold weights that a non-finite value has touched.
            self.trainer.check_finite()?;
        }
        let is_best = evaluates && !stops && self.evaluate()?;
        if saves {
            self.progress.evaluation_pending = evaluates && stops;
            self.save(is_best)?;
        }
        if stops {
            self.writer.wait()?;
            return Err(Error::interrupted(format!(
                "stopped after step {step} as asked; everything is saved. Go on with `{}`",
                self.resume_command()
            ))
            .into());
        }
        Ok(())
    }
}

fn fetch(values: &[(String, tch::Tensor)]) -> Vec<(String, f64)> {
    values.iter().map(|(name, value)| (name.clone(), value.double_value(&[]))).collect()
}
