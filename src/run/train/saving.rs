//! Scoring during training, and what is kept on disk.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sonotune_base::{Error, error::ErrorKind, words::bytes};

use super::{
    super::{
        evaluate,
        model::Model,
        predictor::Predictor,
        report,
        scoring::{self, Extras, Scored},
    },
    steps::Run,
};
use crate::logging::peak_memory;
use sonotune_base::fs::free_space;
use sonotune_dataset::{Dataset, Split, Statistics};
use sonotune_engine::{
    checkpoint::{self, Best, Progress, Snapshot, State},
    trainer::{EarlyStopping, Trainer},
};
use sonotune_metrics::{Direction, Metric, Report};
use sonotune_report::{By, Kept, Shown};
use sonotune_run_folder::{BestModel, LAST, RunStatus, Summary};

/// Why a metric is undefined, and what to do.
const NOTHING_TO_SCORE: &str = "dataset.val has nothing to score it on, such as no object of a category; choose \
                                another metric, or add such images";

/// What an evaluation decided.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    is_best: bool,
    best: Option<Best>,
    early_stopping: Option<EarlyStopping>,
}

impl Run<'_> {
    /// Starts writing the last checkpoint, and the best one if this is it.
    pub(super) fn write_checkpoint(&mut self, is_best: bool) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        self.writer.save(&state(self.model, &self.trainer, &self.progress), is_best)
    }

    /// Warns before the first step if this run will fill the disk.
    pub(super) fn warn_of_little_space(&self) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        let folder = self.folder.checkpoints();
        let live = Snapshot::live(&state(self.model, &self.trainer, &self.progress));
        let (last, both) = (live.bytes(false)?, live.bytes(true)?);
        let best = if self.config.evaluation.best_metric.is_some() { 2 * (both - last) } else { 0 };
        // One more than is kept: a file is replaced only once the new one is complete.
        let needed = (self.kept_files() + 1).saturating_mul(last).saturating_add(best);
        if let Some(free) = free_space(&folder).filter(|&free| free < needed) {
            self.logger.warn(&format!(
                "{} has {} free, but the checkpoints of this run will take {}: it ends at the \
                 first that does not fit, with the earlier ones intact. Free some space there, or \
                 choose another run_dir or a smaller train.keep_checkpoints",
                folder.display(),
                bytes(free),
                bytes(needed)
            ));
        }
        Ok(())
    }

    /// Number of full checkpoints that the run will leave, not counting those already there.
    fn kept_files(&self) -> u64 {
        let train = &self.config.train;
        let left = train.max_steps.saturating_sub(self.progress.step);
        let saves = |every: Option<u64>| every.map_or(0, |every| left / every.max(1));
        let saves =
            1 + saves(train.checkpoint_every_steps) + saves(self.config.evaluation.every_steps);
        if self.folder.is_resumed() { 1 } else { train.keep_checkpoints.clamp(1, saves) }
    }

    /// Whether early stopping ends the run here.
    pub(super) fn stops_early(&self) -> bool {
        let config = self.config.train.early_stopping.as_ref();
        config.zip(self.progress.early_stopping).is_some_and(|(config, state)| state.is_due(config))
    }

    /// Why the run ended before its last step, in words.
    pub(super) fn early_stop(&self) -> Option<String> {
        if !self.stops_early() || self.progress.step >= self.config.train.max_steps {
            return None;
        }
        let metric = self.config.evaluation.best_metric.as_deref()?;
        let config = self.config.train.early_stopping.as_ref()?;
        let best = self.progress.early_stopping?.best;
        let than = best.map_or_else(|| "a first value".to_owned(), |best| best.to_string());
        let more = match config.min_delta {
            0.0 => String::new(),
            delta => format!(" by more than {delta}"),
        };
        Some(format!(
            "stopped early after step {}: {} evaluations in a row did not improve `{metric}` on \
             {than}{more}",
            self.progress.step, self.progress.early_stopping?.evaluations_without_improvement
        ))
    }

    /// Scores the averaged weights, or the plain weights if there is no average; returns whether they
    /// are the best so far.
    pub(super) fn evaluate(&mut self) -> Result<bool> {
        let Some(val_set) = self.val_set else { return Ok(false) };
        let (model, ranks, plan) = (self.model, self.ranks, &self.plan);
        let (logger, total) = (self.logger, val_set.records.len() as u64);
        let progress = |done| logger.scoring(done, total);
        let extras = Extras {
            num_pictures: self.config.logging.num_images,
            progress: Some(&progress),
            ..Extras::default()
        };
        progress(0);
        let predictor = Predictor::alone(model);
        let scored = self
            .trainer
            .with_average(|| scoring::score(&predictor, ranks, val_set.clone(), plan, extras))?;
        logger.scored(self.progress.step);
        // Rank 0 scores and judges, for all.
        let judged = scored.map(|scored| self.record(val_set, scored)).transpose();
        let verdict = ranks.from_first(ranks.agree(judged)?)?;
        let Verdict { is_best, best, early_stopping } = verdict;
        (self.progress.best, self.progress.early_stopping) = (best, early_stopping);
        Ok(is_best)
    }

    /// Logs the scores and keeps what the report shows; decides whether this is the best.
    fn record(&mut self, val_set: &Dataset, scored: Scored) -> Result<Verdict> {
        let Scored { report, pictures, skipped, ranked, images: _ } = scored;
        let step = self.progress.step;
        self.list_not_scored(&skipped)?;
        self.logger.evaluation(step, Split::Val, &report);
        for (index, picture) in pictures.iter().enumerate() {
            self.logger.image(&format!("val/images/{index}"), step, picture);
        }
        let counts = Statistics::of(val_set);
        let shown = Shown { split: Split::Val, step, counts, report: report.clone(), ranked };
        report::keep(self.logger, Kept::of(self.folder.path()).write_shown(By::Training, &shown));
        let is_best = self.judge(&report)?;
        self.last_report = Some(report);
        let Progress { best, early_stopping, .. } = &self.progress;
        Ok(Verdict { is_best, best: best.clone(), early_stopping: *early_stopping })
    }

    /// Records the metric that picks the best; returns whether this is it.
    fn judge(&mut self, report: &Report) -> Result<bool> {
        let Some(name) = &self.config.evaluation.best_metric else { return Ok(false) };
        let Metric { value, .. } = *evaluate::find_metric(report, name)?;
        let direction = self.config.evaluation.best_is;
        let config = self.config.train.early_stopping.as_ref();
        if let Some((config, state)) = config.zip(self.progress.early_stopping.as_mut()) {
            state.observe(config, direction, value);
        }
        let best = self.progress.best.as_ref();
        let is_best = match best {
            Some(best) => improves(direction, value, best.value),
            None => !value.is_nan(),
        };
        if value.is_nan() && best.is_none() && self.last_report.is_none() {
            self.logger.warn(&format!(
                "`evaluation.best_metric` {name} is undefined at this evaluation: {NOTHING_TO_SCORE}. Until it is \
                 defined, no checkpoint is the best"
            ));
        }
        if is_best {
            let step = self.progress.step;
            self.progress.best = Some(Best { metric: name.clone(), value, step });
        }
        Ok(is_best)
    }

    /// That no evaluation gave the metric that picks the best, in words.
    pub(super) fn without_best(&self) -> Option<String> {
        let metric = self.config.evaluation.best_metric.as_deref()?;
        self.last_report.as_ref().filter(|_| self.progress.best.is_none())?;
        Some(format!(
            "no checkpoint is the best, and `sonotune eval` and `predict` use the last: \
             `evaluation.best_metric` {metric} was undefined at every evaluation: {NOTHING_TO_SCORE}"
        ))
    }

    /// After memory has run out, also says which steps are saved.
    pub(super) fn with_way_back(&self, error: anyhow::Error) -> anyhow::Error {
        if sonotune_base::error::kind(&error) != Some(ErrorKind::Memory) {
            return error;
        }
        let last = self.folder.checkpoints().join(LAST);
        let Ok(saved) = checkpoint::read_progress(&last) else { return error };
        Error::memory(format!(
            "{error:#}. The checkpoint after step {} is intact: continue with `{}`",
            saved.step,
            self.resume_command()
        ))
        .into()
    }

    pub(super) fn resume_command(&self) -> String {
        format!("sonotune train --resume {}", self.folder.path().display())
    }

    pub(super) fn summary(&self, status: RunStatus) -> Summary {
        let run = self.folder.path().display();
        let checkpoint = self.folder.checkpoints().join(checkpoint::BEST);
        let next_commands = match status {
            RunStatus::Finished => vec![
                format!("sonotune eval --run {run} --split test"),
                format!("sonotune predict --run {run} IMAGES --out {run}/predictions"),
                format!("tensorboard --logdir {run}"),
            ],
            // There is nothing to resume before the first checkpoint.
            _ if !self.folder.checkpoints().join(LAST).exists() => Vec::new(),
            RunStatus::Interrupted | RunStatus::Failed => vec![self.resume_command()],
        };
        let of_scores = self.last_report.as_ref().map(|r| r.notes.clone()).unwrap_or_default();
        Summary {
            status,
            stopped_early: self.early_stop(),
            error: None,
            steps: self.progress.step,
            wall_seconds: self.started.elapsed().as_secs_f64(),
            peak_memory_bytes: peak_memory(self.model.device()),
            best: self.progress.best.clone().map(|best| BestModel {
                metric: best.metric,
                value: best.value,
                step: best.step,
                checkpoint,
            }),
            metrics: self.last_report.as_ref().map(|r| r.metrics.clone()).unwrap_or_default(),
            notes: self.without_best().into_iter().chain(of_scores).collect(),
            faults: self.faults(),
            next_commands,
        }
    }
}

fn state<'a>(model: &'a Model, trainer: &'a Trainer<'_>, progress: &'a Progress) -> State<'a> {
    State { vs: &model.vs, optimizer: trainer.optimizer(), ema: trainer.ema(), progress }
}

/// Whether `value` beats `best`. A NaN beats nothing, and anything beats a NaN.
fn improves(direction: Direction, value: f64, best: f64) -> bool {
    !value.is_nan()
        && (best.is_nan()
            || match direction {
                Direction::Highest => value > best,
                Direction::Lowest => value < best,
            })
}
