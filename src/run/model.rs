//! Backbone and task, built and filled with weights.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tch::{Device, nn};

use crate::config::{Loaded, RunConfig};
use sonotune_base::{
    Category, Error,
    error::{ErrorKind, exit_code},
};
use sonotune_engine::{
    backbone::BackboneSpec,
    checkpoint::{self, Restored},
    determinism,
    task::Task,
};
use sonotune_engine::{
    device::{Place, Precision},
    loader::LoadPlan,
    parallel::Share,
};
use sonotune_run_folder::RunFiles;
use sonotune_weights as weights;
use sonotune_weights::{LoadReport, WeightsConfig, keymap::recognise};

/// A task with its variables, and the config that it was built from.
#[derive(Debug)]
pub struct Model<'a> {
    pub config: &'a RunConfig,
    pub vs: nn::VarStore,
    /// Number format in which it computes.
    pub precision: Precision,
    pub task: Box<dyn Task>,
    /// Spec of the backbone, which the task owns.
    pub spec: BackboneSpec,
    pub categories: Vec<Category>,
}

impl<'a> Model<'a> {
    /// Where the variables are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.vs.device()
    }

    /// Where and in which number format it computes.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { device: self.device(), precision: self.precision }
    }

    /// How both splits are loaded.
    pub(crate) fn load_plan(&self) -> LoadPlan {
        let config = self.config;
        LoadPlan {
            preprocess: config.preprocess.clone(),
            augment: config.augment.clone(),
            spec: self.spec.input.clone(),
            needs: self.task.needs(),
            loader: config.loader.clone(),
            seed: config.seed,
            pixels: self.device().into(),
            preparation: self.task.preparation(),
            reader: Default::default(),
            share: Share::default(),
            embeddings: None,
        }
    }

    /// The plan for evaluation batches, which may be larger than those of training.
    pub(crate) fn eval_plan(&self, plan: &LoadPlan) -> LoadPlan {
        let mut plan = plan.clone();
        plan.loader.batch_size =
            self.config.evaluation.batch_size.unwrap_or(plan.loader.batch_size);
        plan.needs = self.task.eval_needs();
        plan
    }

    /// Builds the model of a config with random weights, a function of the seed.
    ///
    /// # Errors
    /// When backbone or task refuse their options or the categories.
    pub fn build(
        config: &'a RunConfig,
        place: impl Into<Place>,
        categories: Vec<Category>,
    ) -> Result<Self> {
        let Place { device, precision } = place.into();
        tch::manual_seed(config.seed as i64);
        let mut vs = nn::VarStore::new(device);
        let build = || {
            let backbone = config.backbone.build(&(vs.root() / "backbone"))?;
            let spec = backbone.spec().clone();
            Ok((spec, config.task.build(&vs.root(), backbone, &categories)?))
        };
        // A device without memory for the weights panics here.
        let (mut spec, task) = determinism::guarded(|| "building the model".to_owned(), build)?;
        spec.input = config.preprocess.normalize.shown(spec.input);
        precision.apply(&mut vs);
        Ok(Self { config, vs, precision, task, spec, categories })
    }

    /// Builds the model of a finished run from one of its checkpoints, with the moving average if there
    /// is one.
    ///
    /// # Errors
    /// When the checkpoint is absent, damaged or of another model.
    pub fn from_checkpoint(
        config: &'a RunConfig,
        place: impl Into<Place>,
        path: &Path,
    ) -> Result<(Self, Restored)> {
        let progress = checkpoint::read_progress(path)?;
        let model = Self::build(config, place, progress.categories)?;
        let restored = checkpoint::load_model(path, &model.vs)?;
        Ok((model, restored))
    }

    /// Builds the model of a config with the weights that `source` names. Pretrained weights come
    /// without categories: they get `categories`.
    ///
    /// # Errors
    /// When the weights are absent, damaged or of another model.
    pub fn open(
        config: &'a RunConfig,
        place: impl Into<Place>,
        source: &ModelSource,
        categories: &[Category],
    ) -> Result<Opened<'a>> {
        let path = source.resolve(config)?;
        if *source == ModelSource::Pretrained {
            let model = Self::build(config, place, categories.to_vec())?;
            let report = model.load_pretrained(pretrained(config)?)?;
            let parts = report.parts.iter().map(|part| part.path.clone());
            let beside = parts.chain(report.overlay.iter().map(|o| o.path.clone())).collect();
            return Ok(Opened {
                model,
                path,
                beside,
                step: 0,
                averaged: false,
                weights: Some(report),
            });
        }
        let (model, Restored { progress, averaged }) = Self::from_checkpoint(config, place, &path)?;
        let beside = Vec::new();
        Ok(Opened { model, path, beside, step: progress.step, averaged, weights: None })
    }

    /// Fills the variables with the pretrained weights of a config.
    ///
    /// # Errors
    /// When they do not fit the model, or the overlay does not fit them.
    pub fn load_pretrained(&self, source: &WeightsConfig) -> Result<LoadReport> {
        if let Some(path) = &source.overlay {
            let backbone = serde_json::to_value(&*self.config.backbone)?;
            weights::Overlay::open(path)?.check_backbone(&backbone)?;
        }
        weights::load(&self.vs, source).map_err(|error| {
            let is_weights = exit_code(&error) == ErrorKind::Weights.exit_code();
            let shapes = weights::shapes(source).ok().filter(|_| is_weights);
            match shapes.and_then(|shapes| self.config.backbone.other_sizes(&shapes)) {
                None => error,
                Some(sizes) => {
                    let words = "by its shapes, the file is for [backbone]";
                    Error::weights(format!("{error:#}\n  {words} {sizes}")).into()
                }
            }
        })
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

/// A config completed by its pretrained weights.
#[derive(Debug)]
pub struct Decided {
    pub loaded: Loaded,
    /// What they decided, as `key=value`.
    pub options: Vec<String>,
}

/// The config, with what it leaves open decided by its pretrained weights; `None` if they decide
/// nothing. With several weight files, each decides, except those that give variables of the backbone
/// only.
///
/// # Errors
/// When the weights cannot be read, follow no known naming convention, or decide differently.
pub fn decided_by_weights(loaded: &Loaded) -> Result<Option<Decided>> {
    let Some(source) = &loaded.config.weights else { return Ok(None) };
    type Name = Option<String>;
    let decide = |path: &Path, state_dict: &Name, convention: &Name| -> Result<Vec<String>> {
        let file = weights::open_state_dict(path, state_dict.as_deref())?;
        let recognised = recognise(&file, convention.as_deref())?;
        let own = checkpoint::read_progress(path).ok().and_then(|p| p.convention);
        let convention = own.as_deref().unwrap_or(recognised.convention.name);
        let decided = loaded.config.task.decided_by_weights(convention);
        Ok(decided.iter().map(|(key, value)| format!("task.{key}={value}")).collect())
    };
    let mut options = decide(&source.path, &source.state_dict, &source.convention)?;
    let mut by = &source.path;
    let is_backbones = |pattern: &String| pattern.starts_with("backbone.");
    for part in source.parts.iter().filter(|part| !part.variables.iter().all(is_backbones)) {
        let theirs = decide(&part.path, &part.state_dict, &part.convention)?;
        if options.is_empty() {
            (options, by) = (theirs, &part.path);
        } else if !theirs.is_empty() && theirs != options {
            return Err(Error::config(format!(
                "{} decides {}, but {} decides {}: say in the config which one is meant",
                by.display(),
                options.join(", "),
                part.path.display(),
                theirs.join(", ")
            ))
            .into());
        }
    }
    if options.is_empty() {
        return Ok(None);
    }
    let loaded = loaded.with_overrides(&options)?;
    Ok(Some(Decided { loaded, options }))
}

/// A model with its weights, and where those come from.
#[derive(Debug)]
pub struct Opened<'a> {
    pub model: Model<'a>,
    pub path: PathBuf,
    /// Other files that pretrained weights come from: parts, and the overlay.
    pub beside: Vec<PathBuf>,
    /// Optimiser steps that the run has made; 0 for pretrained weights.
    pub step: u64,
    /// Whether the weights are the moving average over the run's steps.
    pub averaged: bool,
    /// What was loaded, for pretrained weights.
    pub weights: Option<LoadReport>,
}

fn pretrained(config: &RunConfig) -> Result<&WeightsConfig> {
    config.weights.as_ref().ok_or_else(|| {
        Error::config(
            "this config names no pretrained weights: give [weights] path, or a finished run",
        )
        .into()
    })
}

/// Which weights a model gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The best if the run kept one, else the last.
    BestOrLast,
    Best,
    Last,
    File(PathBuf),
    /// The one that the run kept for that step.
    Step(u64),
    /// No checkpoint: the pretrained weights that the config names, as they are.
    Pretrained,
}

impl ModelSource {
    /// The file of weights: a checkpoint of the config's run folder, or the pretrained weights.
    ///
    /// # Errors
    /// Of kind weights if it does not exist; lists those that do.
    pub fn resolve(&self, config: &RunConfig) -> Result<PathBuf> {
        let run_dir = &config.run_dir;
        let files = RunFiles::of(run_dir);
        let (folder, best, last) = (files.checkpoints(), files.best(), files.last());
        let path = match self {
            Self::BestOrLast if best.exists() => best,
            Self::BestOrLast | Self::Last => last,
            Self::Best => best,
            Self::File(path) => path.clone(),
            Self::Step(step) => files.step(*step),
            Self::Pretrained => pretrained(config)?.path.clone(),
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
