//! Training, from config to summary.

mod faults;
mod same;
mod saving;
mod setup;
mod steps;

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::Result;

use super::{
    model::{Model, ModelSource, decided_by_weights},
    prepared::{self, Prepared, Start},
    report,
    skipped::SkippedList,
    splits::{Splits, lacks_masks},
    trial,
};
use crate::logging::environment;
use crate::{
    config::{Loaded, RunConfig},
    data_record::DataRecord,
    logging::{LoggerOptions, RunLogger},
};
use setup::{Introduction, Resumed};
use sonotune_base::stop::StopFlag;
use sonotune_dataset::{Dataset, Split};
use sonotune_engine::{
    checkpoint::{Progress, Writer},
    device::Place,
    loader::LoadPlan,
    optim::groups,
    parallel::{Gradients, Ranks},
};
use sonotune_run_folder::{Environment, Existing, RunFolder, RunStatus, Summary};
use steps::Run;

/// How to start.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    pub existing: Existing,
    /// The checkpoint that a resumed run continues from.
    pub resume_from: ModelSource,
    /// Resume even if annotations or images have changed since the run began.
    pub changed_data: bool,
    pub stop: StopFlag,
    /// The processes that train together.
    pub ranks: Arc<Ranks>,
}

/// The result of a finished training run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TrainOutcome {
    pub run_dir: PathBuf,
    pub summary: Summary,
}

/// Trains as `loaded` describes; every result is in the run folder. With several processes, rank 0 writes
/// it, and the others return the same summary.
///
/// # Errors
/// Errors of every kind: config, data, weights, non-finite, and interrupted when the stop flag was raised
/// (the run is saved then). An error of one process is an error of all.
pub fn train(loaded: &Loaded, options: &TrainOptions) -> Result<TrainOutcome> {
    options.ranks.close(train_together(loaded, options, &options.ranks))
}

fn train_together(loaded: &Loaded, options: &TrainOptions, ranks: &Ranks) -> Result<TrainOutcome> {
    // A resumed run's config has recorded it, and its weights file may no longer exist.
    let decided = match options.existing {
        Existing::Resume => None,
        _ => ranks.agree(decided_by_weights(loaded))?,
    };
    let loaded = decided.as_ref().map_or(loaded, |decided| &decided.loaded);
    let config = &loaded.config;
    // Whatever can be refused is refused before the run folder exists.
    let start = match options.existing {
        Existing::Resume => Start::Checkpoint,
        _ => Start::Config,
    };
    let prepared = ranks.agree(Prepared::new(config, start, ranks.local()))?;
    let Prepared { model, splits, mut optimizer, mut ema, .. } = prepared;
    let Splits { train: train_set, val: val_set, mut notes } = splits;
    ranks.agree(require_best_metric(&model, val_set.as_ref()))?;
    let data =
        DataRecord::of([(Split::Train, Some(&*train_set)), (Split::Val, val_set.as_deref())]);
    if options.existing == Existing::Resume {
        let unchanged = data.require_unchanged(&config.run_dir, options.changed_data);
        notes.extend(ranks.agree(unchanged)?);
    }
    same::require(ranks, loaded, &model, &data)?;
    ranks.agree(ranks.connect(model.device()))?;

    let folder = open_folder(ranks, config, options.existing)?;
    let progress = if folder.is_resumed() {
        let state = Resumed { model: &model, optimizer: &mut optimizer, ema: ema.as_mut() };
        ranks.agree(state.resume(&folder, config, &options.resume_from, ranks.is_first()))?
    } else {
        prepared::start(&model)
    };
    same::state(ranks, &model, &optimizer, ema.as_ref(), &progress)?;
    let logger =
        ranks.agree(begin_log(&folder, loaded, ranks, prepared.device.place, &progress))?;
    if ranks.is_first() {
        data.write(&folder)?;
    }
    let introduction = Introduction {
        loaded,
        decided: decided.as_ref().map_or(&[], |decided| &decided.options),
        device: &prepared.device,
        model: &model,
        weights: prepared.weights.as_ref(),
        step: progress.step,
        train_set: &train_set,
        val_set: val_set.as_deref(),
        notes: &notes,
        ranks,
    };
    introduction.write(&folder, &logger)?;

    if ranks.is_first() {
        let splits = [(Split::Train, Some(&train_set)), (Split::Val, val_set.as_ref())];
        report::keep_counts(&logger, folder.path(), splits);
    }

    let gradients = Gradients::new(
        ranks,
        groups::trainable(&model.vs),
        config.parallel.bucket_mib << 20,
        options.stop.clone(),
    )?;
    let mut run = Run {
        trainer: prepared::trainer(&model, optimizer, ema).shared(gradients),
        writer: Writer::new(&folder.checkpoints(), config.train.keep_checkpoints),
        model: &model,
        config,
        folder: &folder,
        logger: &logger,
        ranks,
        plan: LoadPlan { share: ranks.share(), ..model.load_plan() },
        val_set: val_set.as_ref(),
        skipped: SkippedList::open(&folder, &config.loader, progress.step, ranks.is_first())?,
        progress,
        last_report: None,
        started: Instant::now(),
    };
    let result = run.run_all_steps(&train_set, &options.stop);
    finish(run, result)
}

/// Creates or opens the run folder: rank 0 first, then the others.
fn open_folder(ranks: &Ranks, config: &RunConfig, existing: Existing) -> Result<RunFolder> {
    let created = match ranks.is_first() {
        true => RunFolder::create(&config.run_dir, existing).map(Some),
        false => Ok(None),
    };
    let joined = match ranks.agree(created)? {
        Some(folder) => Ok(folder),
        None => RunFolder::join(&config.run_dir, existing),
    };
    ranks.agree(joined)
}

/// Refuses a run whose best checkpoint would be picked by a metric that the task does not report.
/// Metrics that a task declares were checked with the config; for other tasks, one batch is scored.
fn require_best_metric(model: &Model, val_set: Option<&Arc<Dataset>>) -> Result<()> {
    let config = model.config;
    match val_set {
        // Without masks, scores of masks are not reported, either.
        Some(val_set)
            if config.evaluation.best_metric.is_some()
                && (config.task.metric_names().is_none() || lacks_masks(config, val_set)) =>
        {
            trial::evaluate(model, val_set, &model.load_plan(), None).map(drop)
        }
        _ => Ok(()),
    }
}

/// Opens the logs, and writes what is run and on which machine.
fn begin_log(
    folder: &RunFolder,
    loaded: &Loaded,
    ranks: &Ranks,
    place: Place,
    progress: &Progress,
) -> Result<RunLogger> {
    let config = &loaded.config;
    let resume_step = folder.is_resumed().then_some(progress.step);
    let options = LoggerOptions {
        total_steps: config.train.max_steps,
        resume_step,
        evaluation_pending: progress.evaluation_pending,
        device: place.device,
    };
    if !ranks.is_first() {
        return RunLogger::of_rank(folder, ranks.rank(), options);
    }
    let logger = RunLogger::new(folder, options)?;
    folder.write_config(&loaded.resolved)?;
    folder.write_environment(&Environment {
        after_step: resume_step,
        ..environment(place, config.attention_backend, config.seed)
    })?;
    Ok(logger)
}

/// Waits for the last checkpoint, and writes how the steps ended.
///
/// # Errors
/// What ended the steps; it takes precedence over records that the logs lack.
fn finish(mut run: Run, result: Result<()>) -> Result<TrainOutcome> {
    // Only after another error: if all went well, there is nothing left to wait for.
    if let Err(error) = run.writer.wait() {
        run.logger.warn(&format!("{error:#}"));
    }
    let status = match &result {
        Ok(()) => RunStatus::Finished,
        Err(e) if sonotune_base::error::exit_code(e) == 130 => RunStatus::Interrupted,
        Err(_) => RunStatus::Failed,
    };
    let result = result.map_err(|error| run.with_way_back(run.ranks.explain(error)));
    let mut summary = run.summary(status);
    run.without_best().iter().for_each(|note| run.logger.info(note));
    summary.error = result.as_ref().err().map(|error| format!("{error:#}"));
    let logged = run.logger.finish(&summary);
    if run.ranks.is_first() {
        report::after_training(run.logger, run.folder.path());
    }
    result.and(logged)?;
    Ok(TrainOutcome { run_dir: run.folder.path().to_owned(), summary })
}
