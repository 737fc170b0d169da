//! What a training needs before its first step.

use anyhow::Result;
use sonotune_base::words::abbreviated;

use super::super::model::{Model, ModelSource};
use crate::{
    config::{Loaded, RunConfig},
    logging::RunLogger,
};
use sonotune_base::{Category, Error};
use sonotune_dataset::Dataset;
use sonotune_engine::{
    checkpoint::{self, Progress},
    device::Ready,
    optim::{Ema, Optimizer},
    parallel::Ranks,
};
use sonotune_run_folder::RunFolder;
use sonotune_weights::LoadReport;

/// What a checkpoint restores.
pub(super) struct Resumed<'a> {
    pub(super) model: &'a Model<'a>,
    pub(super) optimizer: &'a mut Optimizer,
    pub(super) ema: Option<&'a mut Ema>,
}

impl Resumed<'_> {
    /// Restores it. A checkpoint other than the last immediately becomes the last: whatever happens
    /// next, the run continues from there; `is_first`: of several processes, the one that writes.
    pub(super) fn resume(
        self,
        folder: &RunFolder,
        config: &RunConfig,
        from: &ModelSource,
        is_first: bool,
    ) -> Result<Progress> {
        let last = folder.checkpoints().join(checkpoint::LAST);
        if *from == ModelSource::Last && !last.exists() {
            return Err(Error::config(format!(
                "cannot resume {}: it has no checkpoint yet; start over with `--overwrite`",
                folder.path().display()
            ))
            .into());
        }
        let path = from.resolve(config)?;
        let mut progress = checkpoint::resume(&path, &self.model.vs, self.optimizer, self.ema)?;
        require_same_categories(folder, &progress.categories, &self.model.categories)?;
        // Early stopping continues from its saved state if the config still asks for it.
        let stands = progress.early_stopping.unwrap_or_default();
        progress.early_stopping = config.train.early_stopping.as_ref().map(|_| stands);
        if path != last && is_first {
            checkpoint::kept::link(&path, &last)?;
        }
        Ok(progress)
    }
}

fn require_same_categories(
    folder: &RunFolder,
    trained: &[Category],
    found: &[Category],
) -> Result<()> {
    if trained == found {
        return Ok(());
    }
    let names = |categories: &[Category]| {
        categories.iter().map(|c| c.name.clone()).collect::<Vec<_>>().join(", ")
    };
    Err(Error::data(format!(
        "cannot resume {}: it was trained for the categories {}, the dataset now has {}",
        folder.path().display(),
        names(trained),
        names(found)
    ))
    .into())
}

/// What is printed about a run before its first step.
pub(super) struct Introduction<'a> {
    pub(super) loaded: &'a Loaded,
    /// Options that the weights decided, as `key=value`.
    pub(super) decided: &'a [String],
    pub(super) device: &'a Ready,
    pub(super) model: &'a Model<'a>,
    /// What was loaded from pretrained weights.
    pub(super) weights: Option<&'a LoadReport>,
    /// Steps done.
    pub(super) step: u64,
    pub(super) train_set: &'a Dataset,
    pub(super) val_set: Option<&'a Dataset>,
    /// What is worth a warning about the data.
    pub(super) notes: &'a [String],
    pub(super) ranks: &'a Ranks,
}

impl Introduction<'_> {
    /// Prints it, and saves the weights report.
    pub(super) fn write(&self, folder: &RunFolder, logger: &RunLogger) -> Result<()> {
        if self.ranks.is_first() {
            self.write_weights(folder, logger)?;
        }
        for warning in &self.loaded.warnings {
            logger.warn(&warning.to_string());
        }
        for option in self.decided {
            logger.info(&format!("{option}: decided by the weights"));
        }
        let (trainable, all) = self.model.num_parameters();
        let (device, threads) = (self.device, tch::get_num_threads());
        logger.info(&format!("device: {}, {threads} threads", device.describe()));
        if !self.ranks.is_alone() {
            logger.info(&self.processes());
        }
        device.notes.iter().for_each(|note| logger.info(note));
        logger.info(&format!(
            "model: {} parameters, {} of them trained",
            abbreviated(all as u64),
            abbreviated(trainable as u64)
        ));
        logger.config(&self.loaded.resolved);
        logger.info(&format!("train: {}", self.train_set.summary().trim_end()));
        match self.val_set {
            Some(dataset) => logger.info(&format!("val: {}", dataset.summary().trim_end())),
            None => logger.warn("the dataset has no validation split: nothing is evaluated"),
        }
        self.notes.iter().for_each(|note| logger.warn(note));
        Ok(())
    }

    /// E.g. `rank 0 of 4 processes, 2 of them on this machine: images 0 to 7 of each batch of 32`.
    fn processes(&self) -> String {
        let (ranks, size) = (self.ranks, self.loaded.config.loader.batch_size);
        let own = ranks.share().own(size);
        format!(
            "rank {} of {} processes, {} of them on this machine: {} of the {size} images of a batch",
            ranks.rank(),
            ranks.world_size(),
            ranks.local().world_size,
            own.len()
        )
    }

    fn write_weights(&self, folder: &RunFolder, logger: &RunLogger) -> Result<()> {
        if let Some(report) = self.weights {
            folder.write_weights_report(report)?;
            logger.info(report.summary().trim_end());
        } else if folder.is_resumed() {
            logger.info(&format!("continuing after step {}", self.step));
        } else {
            let seed = self.loaded.config.seed;
            folder.write_weights_report(&serde_json::json!({ "random_start": seed }))?;
            logger.info(&format!("weights: none given; random start with seed {seed}"));
        }
        Ok(())
    }
}
