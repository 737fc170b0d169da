//! Everything that a training run is made of: built and checked before the first step, in the same way
//! for a run and its dry run.

use anyhow::Result;
use sonotune_dataset::transforms::PadTo;
use sonotune_engine::{
    checkpoint::Progress,
    determinism::{self, Deterministic},
    device::{self, Compute, Local, Ready},
    optim::{Ema, Optimizer, groups},
    trainer::{EarlyStopping, Trainer},
};
use sonotune_weights::LoadReport;

use crate::{config::RunConfig, embed, model::Model, splits::Splits};

/// The parts of a training run.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) model: Model<'a>,
    pub(crate) splits: Splits,
    /// What was loaded from the pretrained weights, if there are any and they were asked for.
    pub(crate) weights: Option<LoadReport>,
    pub(crate) optimizer: Optimizer,
    pub(crate) ema: Option<Ema>,
    /// The device and why it was chosen, and what is worth a note about it, to print.
    pub(crate) device: Ready,
}

/// Where the initial values of the variables come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// The pretrained weights of the config, or random values if it names none.
    Config,
    /// A checkpoint, which is loaded afterwards.
    Checkpoint,
}

impl<'a> Prepared<'a> {
    /// Builds the parts that `config` describes, for the process that is `local` on its machine. Whatever can be refused is refused here.
    ///
    /// # Errors
    /// Errors of every kind: config, data, weights.
    pub(crate) fn new(config: &'a RunConfig, start: Start, local: Local) -> Result<Self> {
        let device = device::prepare(Compute { local, ..config.compute() })?;
        let splits = Splits::open(config, start)?;
        let model = Model::build(config, device.place, splits.train.categories.clone())?;
        let weights = match &config.weights {
            Some(source) if start == Start::Config => Some(model.load_pretrained(source)?),
            _ => None,
        };
        let groups = groups::group(&model.vs, &config.optimizer.groups)?;
        embed::check(&model)?;
        let state = || {
            let ema = config.train.ema.as_ref();
            let ema = ema.map(|ema| Ema::new(ema, groups::trainable(&model.vs)));
            Ok((Optimizer::new(&config.optimizer, groups), ema))
        };
        let (optimizer, ema) = determinism::guarded(|| "the optimiser's state".to_owned(), state)?;
        Ok(Self { model, splits, weights, optimizer, ema, device })
    }
}

/// A trainer of the model.
pub(crate) fn trainer<'a>(
    model: &'a Model<'a>,
    optimizer: Optimizer,
    ema: Option<Ema>,
) -> Trainer<'a> {
    let config = model.config;
    let (schedule, train) = (&config.schedule, &config.train);
    // cuDNN's fastest algorithm may be one that is not deterministic.
    let repeats = model.task.has_fixed_shapes()
        && config.preprocess.padding(true) == PadTo::Square
        && config.deterministic == Deterministic::Off;
    Trainer::new(&*model.task, optimizer, schedule, train, model.precision, model.device())
        .with_ema(ema)
        .with_fixed_shapes(repeats)
}

/// The progress of a run before its first step.
pub(crate) fn start(model: &Model<'_>) -> Progress {
    let config = model.config;
    Progress {
        step: 0,
        seed: config.seed,
        categories: model.categories.clone(),
        best: None,
        convention: config.task.convention(),
        early_stopping: config.train.early_stopping.as_ref().map(|_| EarlyStopping::default()),
        evaluation_pending: false,
        averaged: false,
    }
}
