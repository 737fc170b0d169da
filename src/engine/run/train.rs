//! Training, from config to summary.

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use tch::Device;

use super::{
    embed,
    evaluate::{self, Scored},
    model::{Model, decided_by_weights},
    report, scored_images,
};
use crate::{
    Error,
    checkpoint::{self, Best, Progress},
    config::{Direction, Loaded, RunConfig},
    data::{
        Dataset, Split, Statistics,
        loader::{LoadPlan, Loader},
    },
    device,
    logging::{
        BestModel, Environment, Existing, LoggerOptions, RunFolder, RunLogger, RunStatus, StepTime,
        Summary, TrainRecord, peak_memory,
    },
    optim::{Optimizer, groups},
    report::{By, Kept, Shown},
    stop::StopFlag,
    task::{Metric, Report},
    trainer::{StepValues, Trainer},
};

/// How to start.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    pub existing: Existing,
    pub stop: StopFlag,
}

/// What a finished training leaves.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TrainOutcome {
    pub run_dir: PathBuf,
    pub summary: Summary,
}

/// Trains as `loaded` says; every result is in the run folder.
///
/// # Errors
/// Of every kind: config, data, weights, non-finite, and interrupted when the stop flag was raised
/// (the run is saved then).
pub fn train(loaded: &Loaded, options: &TrainOptions) -> Result<TrainOutcome> {
    // A resumed run's config has recorded it, and its weights file need not be there any more.
    let decided = match options.existing {
        Existing::Resume => None,
        _ => decided_by_weights(loaded)?,
    };
    let loaded = decided.as_ref().map_or(loaded, |decided| &decided.loaded);
    let config = &loaded.config;
    // Whatever can be refused is refused before the run folder exists.
    let chosen = device::choose(config.device)?;
    let device = chosen.device;
    let train_set = open(config, Split::Train)?;
    let val_set = validation(config)?;
    let model = Model::build(config, device, train_set.categories.clone())?;
    let weights_report = match &config.weights {
        Some(source) if options.existing != Existing::Resume => {
            Some(model.load_pretrained(config, source)?)
        }
        _ => None,
    };
    let groups = groups::group(&model.vs, &config.optimizer.groups)?;
    embed::check(config, &model)?;
    let mut optimizer = Optimizer::new(&config.optimizer, groups);

    let folder = RunFolder::create(&config.run_dir, options.existing)?;
    let progress = if folder.is_resumed() {
        resume(&folder, &model, &mut optimizer)?
    } else {
        Progress {
            step: 0,
            seed: config.seed,
            categories: model.categories.clone(),
            best: None,
            convention: config.task.convention(),
        }
    };
    let logger = RunLogger::new(
        &folder,
        LoggerOptions {
            total_steps: config.train.max_steps,
            resume_step: folder.is_resumed().then_some(progress.step),
            device,
        },
    )?;
    folder.write_config(&loaded.resolved)?;
    folder.write_environment(&Environment {
        after_step: folder.is_resumed().then_some(progress.step),
        ..Environment::collect(device, config.precision, config.seed)
    })?;
    match &weights_report {
        Some(report) => {
            folder.write_weights_report(report)?;
            logger.info(report.summary().trim_end());
        }
        None if folder.is_resumed() => {
            logger.info(&format!("going on after step {}", progress.step));
        }
        None => {
            folder.write_weights_report(&serde_json::json!({ "random_start": config.seed }))?;
            logger.info(&format!("weights: none given; random start of seed {}", config.seed));
        }
    }
    for warning in &loaded.warnings {
        logger.warn(&warning.to_string());
    }
    for option in decided.iter().flat_map(|decided| &decided.options) {
        logger.info(&format!("{option}: decided by the weights"));
    }
    introduce(&logger, loaded, &chosen.reason, &model);
    logger.info(&format!("train: {}", train_set.summary().trim_end()));
    match &val_set {
        Some(dataset) => logger.info(&format!("val: {}", dataset.summary().trim_end())),
        None => logger.warn("the dataset has no validation split: nothing is evaluated"),
    }

    let splits = [(Split::Train, Some(&train_set)), (Split::Val, val_set.as_ref())];
    report::keep_counts(&logger, folder.path(), splits);

    let mut run = Run {
        trainer: Trainer::new(
            &*model.task,
            optimizer,
            &config.schedule,
            &config.train,
            config.precision,
            device,
        ),
        model: &model,
        config,
        folder: &folder,
        logger: &logger,
        device,
        plan: load_plan(config, &model),
        val_set: val_set.as_ref(),
        progress,
        last_report: None,
        started: Instant::now(),
    };
    let result = run.run_all_steps(&train_set, &options.stop);
    let status = match &result {
        Ok(()) => RunStatus::Finished,
        Err(e) if crate::error::exit_code(e) == 130 => RunStatus::Interrupted,
        Err(_) => RunStatus::Failed,
    };
    let mut summary = run.summary(status);
    summary.error = result.as_ref().err().map(|error| format!("{error:#}"));
    logger.finish(&summary)?;
    report::after_training(&logger, folder.path());
    result?;
    Ok(TrainOutcome { run_dir: folder.path().to_owned(), summary })
}

pub(super) fn open(config: &RunConfig, split: Split) -> Result<Arc<Dataset>> {
    let dataset = config.dataset.open(split)?;
    if dataset.records.is_empty() {
        return Err(Error::data(format!("{} holds no images", dataset.source.display())).into());
    }
    dataset.require_values(&config.task.values())?;
    Ok(Arc::new(dataset))
}

fn resume(folder: &RunFolder, model: &Model, optimizer: &mut Optimizer) -> Result<Progress> {
    let path = folder.checkpoints().join(checkpoint::LAST);
    if !path.exists() {
        return Err(Error::config(format!(
            "cannot resume {}: it has no checkpoint yet; start anew with `--overwrite`",
            folder.path().display()
        ))
        .into());
    }
    let progress = checkpoint::restore(&path, &model.vs, Some(optimizer))?;
    if progress.categories != model.categories {
        let names = |categories: &[crate::data::Category]| {
            categories.iter().map(|c| c.name.clone()).collect::<Vec<_>>().join(", ")
        };
        return Err(Error::data(format!(
            "cannot resume {}: it was trained for the categories {}, the dataset now has {}",
            folder.path().display(),
            names(&progress.categories),
            names(&model.categories)
        ))
        .into());
    }
    Ok(progress)
}

/// The validation split, where the dataset has one.
pub(super) fn validation(config: &RunConfig) -> Result<Option<Arc<Dataset>>> {
    if config.dataset.splits().contains(&Split::Val) {
        return scored_images::open(config, Split::Val).map(Some);
    }
    if let Some(metric) = &config.evaluation.best_metric {
        return Err(Error::config(format!(
            "evaluation.best_metric = \"{metric}\" needs a validation split: give [dataset] val, \
             or leave best_metric out"
        ))
        .into());
    }
    Ok(None)
}

fn introduce(logger: &RunLogger, loaded: &Loaded, device: &str, model: &Model) {
    let (trainable, all) = model.num_parameters();
    logger.info(&format!("device: {device}, {} threads", tch::get_num_threads()));
    logger.info(&format!(
        "model: {:.2} M parameters, {:.2} M of them trained",
        all as f64 / 1e6,
        trainable as f64 / 1e6
    ));
    logger.config(&loaded.resolved);
}

/// How both splits are loaded.
pub(super) fn load_plan(config: &RunConfig, model: &Model) -> LoadPlan {
    LoadPlan {
        preprocess: config.preprocess.clone(),
        augment: config.augment.clone(),
        spec: model.spec.clone(),
        needs: model.task.needs(),
        loader: config.loader.clone(),
        seed: config.seed,
        embeddings: None,
    }
}

/// A training under way.
struct Run<'a> {
    trainer: Trainer<'a>,
    model: &'a Model,
    config: &'a RunConfig,
    folder: &'a RunFolder,
    logger: &'a RunLogger,
    device: Device,
    plan: LoadPlan,
    val_set: Option<&'a Arc<Dataset>>,
    progress: Progress,
    last_report: Option<Report>,
    started: Instant,
}

impl Run<'_> {
    fn run_all_steps(&mut self, train_set: &Arc<Dataset>, stop: &StopFlag) -> Result<()> {
        let (config, accumulate) = (self.config, self.config.train.accumulate_batches);
        let max_steps = config.train.max_steps;
        let first_batch = self.progress.step * accumulate;
        self.use_embeddings(train_set, stop)?;
        let mut batches = Loader::train(train_set.clone(), self.plan.clone(), first_batch)?;
        while self.progress.step < max_steps {
            let begin = Instant::now();
            let mut step_batches = Vec::new();
            for _ in 0..accumulate {
                let batch = batches.next().context("the training loader never ends")?;
                step_batches.push(batch.with_context(|| self.at_step())?);
            }
            let data_seconds = begin.elapsed().as_secs_f64();
            let images = step_batches.iter().map(|b| b.targets.len() as u64).sum();
            let values = self.trainer.step(self.progress.step, step_batches)?;
            self.progress.step += 1;
            let step = self.progress.step;
            let step_seconds = begin.elapsed().as_secs_f64();
            self.logger.tick(step, StepTime { step_seconds, data_seconds, images });
            if step.is_multiple_of(config.logging.every_steps) || step == max_steps || step == 1 {
                self.log(&values)?;
            }
            self.after_step(stop)?;
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
        if evaluates || stops || due(self.config.train.checkpoint_every_steps) {
            // No checkpoint may hold weights that a non-finite value has touched.
            self.trainer.check_finite()?;
        }
        if evaluates && !stops {
            self.evaluate()?;
        }
        if evaluates || stops || due(self.config.train.checkpoint_every_steps) {
            self.save_last()?;
        }
        if stops {
            return Err(Error::interrupted(format!(
                "stopped after step {step} as asked; everything is saved. Go on with `{}`",
                self.resume_command()
            ))
            .into());
        }
        Ok(())
    }

    fn save_last(&self) -> Result<()> {
        let path = self.folder.checkpoints().join(checkpoint::LAST);
        checkpoint::save(&path, &self.model.vs, Some(self.trainer.optimizer()), &self.progress)
    }

    fn evaluate(&mut self) -> Result<()> {
        let Some(val_set) = self.val_set else { return Ok(()) };
        let step = self.progress.step;
        let Scored { report, pictures, ranked } = evaluate::score(
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
        let counts = Statistics::of(val_set);
        let shown = Shown { split: Split::Val, step, counts, report: report.clone(), ranked };
        report::keep(self.logger, Kept::of(self.folder.path()).write_shown(By::Training, &shown));
        self.keep_best(&report)?;
        self.last_report = Some(report);
        Ok(())
    }

    fn keep_best(&mut self, report: &Report) -> Result<()> {
        let Some(name) = &self.config.evaluation.best_metric else { return Ok(()) };
        let Metric { value, .. } = evaluate::find_metric(report, name)?;
        let direction = self.config.evaluation.best_is;
        if !self.progress.best.as_ref().is_none_or(|best| improves(direction, *value, best.value)) {
            return Ok(());
        }
        let step = self.progress.step;
        self.progress.best = Some(Best { metric: name.clone(), value: *value, step });
        let path = self.folder.checkpoints().join(checkpoint::BEST);
        checkpoint::save(&path, &self.model.vs, None, &self.progress)
    }

    fn resume_command(&self) -> String {
        format!("sonotune train --resume {}", self.folder.path().display())
    }

    fn summary(&self, status: RunStatus) -> Summary {
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
            error: None,
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

fn fetch(values: &[(String, tch::Tensor)]) -> Vec<(String, f64)> {
    values.iter().map(|(name, value)| (name.clone(), value.double_value(&[]))).collect()
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
