//! Scoring a training under way, and what it keeps on the disk.

use anyhow::Result;

use super::{
    super::evaluate::{self, Scored},
    steps::Run,
};
use crate::{
    Error,
    checkpoint::{self, Best},
    config::Direction,
    data::Split,
    logging::{BestModel, RunStatus, Summary, peak_memory},
    task::{Metric, Report},
};

impl Run<'_> {
    pub(super) fn save_last(&self) -> Result<()> {
        let path = self.folder.checkpoints().join(checkpoint::LAST);
        checkpoint::save(&path, &self.model.vs, Some(self.trainer.optimizer()), &self.progress)
    }

    pub(super) fn evaluate(&mut self) -> Result<()> {
        let Some(val_set) = self.val_set else { return Ok(()) };
        let step = self.progress.step;
        let Scored { report, pictures, .. } = evaluate::score(
            self.model,
            val_set.clone(),
            self.plan.clone(),
            self.config,
            self.device,
            self.config.logging.num_images,
        )?;
        self.logger.evaluation(step, Split::Val, &report);
        for (index, picture) in pictures.iter().enumerate() {
            self.logger.image(&format!("val/images/{index}"), step, picture);
        }
        self.keep_best(&report)?;
        self.last_report = Some(report);
        Ok(())
    }

    fn keep_best(&mut self, report: &Report) -> Result<()> {
        let Some(name) = &self.config.evaluation.best_metric else { return Ok(()) };
        let Some(Metric { value, .. }) = report.get(name) else {
            let known: Vec<_> = report.metrics.iter().map(|m| m.name.as_str()).collect();
            return Err(Error::config(format!(
                "evaluation.best_metric = \"{name}\", but the task reports no such metric; it \
                 reports {}",
                known.join(", ")
            ))
            .into());
        };
        let direction = self.config.evaluation.best_is;
        if !self.progress.best.as_ref().is_none_or(|best| improves(direction, *value, best.value)) {
            return Ok(());
        }
        let step = self.progress.step;
        self.progress.best = Some(Best { metric: name.clone(), value: *value, step });
        let path = self.folder.checkpoints().join(checkpoint::BEST);
        checkpoint::save(&path, &self.model.vs, None, &self.progress)
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
            // Nothing to go on with before the first checkpoint.
            _ if !self.folder.checkpoints().join(checkpoint::LAST).exists() => Vec::new(),
            RunStatus::Interrupted | RunStatus::Failed => vec![self.resume_command()],
        };
        Summary {
            status,
            steps: self.progress.step,
            wall_seconds: self.started.elapsed().as_secs_f64(),
            peak_memory_bytes: peak_memory(self.device),
            best: self.progress.best.clone().map(|best| BestModel {
                metric: best.metric,
                value: best.value,
                step: best.step,
                checkpoint,
            }),
            metrics: self.last_report.as_ref().map(|r| r.metrics.clone()).unwrap_or_default(),
            next_commands,
        }
    }
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
