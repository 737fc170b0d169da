//! Backbone and task, built and filled with weights.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tch::{Device, nn};

use crate::{
    Error,
    backbone::BackboneSpec,
    checkpoint::{self, Progress},
    config::RunConfig,
    data::Category,
    task::Task,
};

/// A task with its variables.
#[derive(Debug)]
pub struct Model {
    pub vs: nn::VarStore,
    pub task: Box<dyn Task>,
    /// Of the backbone, which the task owns.
    pub spec: BackboneSpec,
    pub categories: Vec<Category>,
}

impl Model {
    /// Builds the model of a config with its random start, a function of the seed.
    ///
    /// # Errors
    /// When backbone or task refuse their options or the categories.
    pub fn build(config: &RunConfig, device: Device, categories: Vec<Category>) -> Result<Self> {
        tch::manual_seed(config.seed as i64);
        let vs = nn::VarStore::new(device);
        let backbone = config.backbone.build(&(vs.root() / "backbone"))?;
        let spec = backbone.spec().clone();
        let task = config.task.build(&vs.root(), backbone, &categories)?;
        Ok(Self { vs, task, spec, categories })
    }

    /// Builds the model of a finished run from one of its checkpoints.
    ///
    /// # Errors
    /// When the checkpoint is absent, damaged or of another model.
    pub fn from_checkpoint(
        config: &RunConfig,
        device: Device,
        path: &Path,
    ) -> Result<(Self, Progress)> {
        let progress = checkpoint::read_progress(path)?;
        let model = Self::build(config, device, progress.categories.clone())?;
        checkpoint::restore(path, &model.vs, None)?;
        Ok((model, progress))
    }

    /// Number of values in trainable and in all variables.
    #[must_use]
    pub fn num_parameters(&self) -> (usize, usize) {
        let (mut trainable, mut all) = (0, 0);
        for variable in self.vs.variables().values() {
            all += variable.numel();
            if variable.requires_grad() {
                trainable += variable.numel();
            }
        }
        (trainable, all)
    }
}

/// Which checkpoint of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The best if the run kept one, else the last.
    BestOrLast,
    Best,
    Last,
    File(PathBuf),
}

impl ModelSource {
    /// The checkpoint file within run folder `run_dir`.
    ///
    /// # Errors
    /// Of kind weights when there is none; says what there is.
    pub fn resolve(&self, run_dir: &Path) -> Result<PathBuf> {
        let folder = run_dir.join("checkpoints");
        let (best, last) = (folder.join(checkpoint::BEST), folder.join(checkpoint::LAST));
        let path = match self {
            Self::BestOrLast if best.exists() => best,
            Self::BestOrLast | Self::Last => last,
            Self::Best => best,
            Self::File(path) => path.clone(),
        };
        if path.exists() {
            return Ok(path);
        }
        let there = std::fs::read_dir(&folder).map_or_else(
            |_| format!("{} has no checkpoints folder; is it a run folder?", run_dir.display()),
            |entries| {
                let names: Vec<_> = entries
                    .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
                    .collect();
                format!("{} holds: {}", folder.display(), names.join(", "))
            },
        );
        Err(Error::weights(format!("no checkpoint {}; {there}", path.display())).into())
    }
}
