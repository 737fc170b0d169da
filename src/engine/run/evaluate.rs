//! Scoring a model on a split.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use image::RgbImage;
use serde::Serialize;
use tch::{Device, no_grad};

use super::{
    model::{Decided, Model, ModelSource, Opened, decided_by_weights},
    scored_images,
    train::load_plan,
};
use crate::{
    Error,
    config::{Loaded, RunConfig},
    data::{
        Batch, Dataset, Split,
        loader::{LoadPlan, Loader, prepare_batch},
    },
    device,
    logging::pictures,
    task::{Metric, Prediction, Report, Task},
    trainer::autocast,
};

/// What to score.
#[derive(Debug, Clone)]
pub struct EvalOptions {
    pub split: Split,
    pub source: ModelSource,
}

/// A score with all that gives it meaning.
#[derive(Debug, Clone, Serialize)]
pub struct EvalRecord {
    pub checkpoint: PathBuf,
    /// Other files that pretrained weights come from: parts, and what lies on top.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<PathBuf>,
    /// Optimiser steps of the checkpoint.
    pub step: u64,
    pub split: Split,
    pub dataset: PathBuf,
    pub dataset_sha256: Option<String>,
    pub num_images: usize,
    pub num_objects: usize,
    /// What the dataset's options left out or changed.
    pub dataset_notes: Vec<String>,
    pub report: Report,
}

/// Scores a checkpoint of the run whose config is `loaded`.
///
/// # Errors
/// Of kind config, data or weights.
pub fn evaluate(loaded: &Loaded, options: &EvalOptions) -> Result<EvalRecord> {
    let decided = decided(loaded, &options.source)?;
    let config = &decided.as_ref().map_or(loaded, |decided| &decided.loaded).config;
    let device = device::choose(config.device)?.device;
    let dataset = scored_images::open(config, options.split)?;
    let Opened { model, path: checkpoint, beside, step, .. } =
        Model::open(config, device, &options.source, &dataset.categories)?;
    require_same_categories(&model, &dataset, &checkpoint)?;
    let plan = load_plan(config, &model);
    let scored = score(&model, dataset.clone(), plan, config, device, 0)?;
    Ok(EvalRecord {
        checkpoint,
        beside,
        step,
        split: options.split,
        dataset: dataset.source.clone(),
        dataset_sha256: dataset.source_sha256.clone(),
        num_images: dataset.records.len(),
        num_objects: dataset.num_objects(),
        dataset_notes: dataset.notes.clone(),
        report: scored.report,
    })
}

/// As [`decided_by_weights`]; a run's own config has recorded that already.
pub(super) fn decided(loaded: &Loaded, source: &ModelSource) -> Result<Option<Decided>> {
    if *source == ModelSource::Pretrained { decided_by_weights(loaded) } else { Ok(None) }
}

fn require_same_categories(model: &Model, dataset: &Dataset, checkpoint: &Path) -> Result<()> {
    let names = |categories: &[crate::data::Category]| {
        categories.iter().map(|c| c.name.clone()).collect::<Vec<_>>()
    };
    let (trained, found) = (names(&model.categories), names(&dataset.categories));
    if trained == found {
        return Ok(());
    }
    Err(Error::data(format!(
        "{} has the categories {}, but {} was trained for {}; [dataset] categories sets their order",
        dataset.source.display(),
        found.join(", "),
        checkpoint.display(),
        trained.join(", ")
    ))
    .into())
}

/// A report, and pictures of the first images with their predictions.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) report: Report,
    pub(super) pictures: Vec<RgbImage>,
}

/// Predicts and scores every image of `dataset`.
pub(super) fn score(
    model: &Model,
    dataset: Arc<Dataset>,
    plan: LoadPlan,
    config: &RunConfig,
    device: Device,
    num_pictures: usize,
) -> Result<Scored> {
    if dataset.records.is_empty() {
        return Err(Error::data(format!("{} holds no images", dataset.source.display())).into());
    }
    let mut evaluator = model.task.evaluator()?;
    let mut pictures = Vec::new();
    let plan = eval_plan(plan, config, &*model.task);
    let records = dataset.records.chunks(plan.loader.batch_size);
    for (batch, records) in Loader::eval(dataset.clone(), plan.clone())?.zip(records) {
        let batch = batch?;
        let predictions = predict_batch(model, &batch, config, device)?;
        for (index, (prediction, target)) in predictions.iter().zip(&batch.targets).enumerate() {
            evaluator
                .add(prediction, target)
                .with_context(|| format!("scoring {}", target.path.display()))?;
            if pictures.len() < num_pictures {
                let picture = if batch.features.is_some() {
                    // Nobody has decoded the image.
                    let pixels = LoadPlan { embeddings: None, ..plan.clone() };
                    let batch = prepare_batch(&records[index..=index], &pixels)?;
                    draw(model, config, &batch, 0, prediction)?
                } else {
                    draw(model, config, &batch, index, prediction)?
                };
                pictures.push(picture);
            }
        }
    }
    let mut report = evaluator.finish()?;
    let notes = dataset.notes.iter().map(|note| ("dataset".to_owned(), note.clone()));
    report.conditions.extend(notes);
    Ok(Scored { report, pictures })
}

/// The metric that picks the best checkpoint.
///
/// # Errors
/// Of kind config when the task reports none of that name; lists those it does.
pub(super) fn find_metric<'a>(report: &'a Report, name: &str) -> Result<&'a Metric> {
    report.get(name).ok_or_else(|| {
        let known: Vec<_> = report.metrics.iter().map(|m| m.name.as_str()).collect();
        Error::config(format!(
            "evaluation.best_metric = \"{name}\", but the task reports no such metric; it reports {}",
            known.join(", ")
        ))
        .into()
    })
}

/// The plan for evaluation batches, which may be larger than those of training.
pub(super) fn eval_plan(mut plan: LoadPlan, config: &RunConfig, task: &dyn Task) -> LoadPlan {
    plan.loader.batch_size = config.evaluation.batch_size.unwrap_or(plan.loader.batch_size);
    plan.needs = task.eval_needs();
    plan
}

/// Predictions of a batch that lies on the CPU.
pub(super) fn predict_batch(
    model: &Model,
    batch: &Batch,
    config: &RunConfig,
    device: Device,
) -> Result<Vec<Prediction>> {
    let on_device = batch.shallow_clone().to_device(device);
    let predictions = no_grad(|| -> Result<Vec<Prediction>> {
        let _scope = autocast(config.precision, device)?;
        model.task.predict(&on_device)
    })?;
    anyhow::ensure!(
        predictions.len() == batch.targets.len(),
        "the task gave {} predictions for {} images",
        predictions.len(),
        batch.targets.len()
    );
    for (prediction, target) in predictions.iter().zip(&batch.targets) {
        anyhow::ensure!(
            prediction.image_id == target.image_id,
            "the task predicted image {} where image {} ({}) was due: predictions come in the order \
             of the batch",
            prediction.image_id,
            target.image_id,
            target.path.display()
        );
    }
    Ok(predictions)
}

/// The image at `index` of a batch with what was predicted and what is true.
fn draw(
    model: &Model,
    config: &RunConfig,
    batch: &Batch,
    index: usize,
    prediction: &Prediction,
) -> Result<RgbImage> {
    let target = &batch.targets[index];
    let image =
        pictures::denormalise(&batch.images.get(index as i64), target.input_size, &model.spec)?;
    if !prediction.scores.is_empty() && prediction.values.is_empty() {
        let truth = Some(target.image_labels.as_slice());
        return Ok(pictures::prediction(&image, prediction, truth, &model.categories));
    }
    let mut shown = prediction.clone();
    shown.keep_from(config.task.min_score());
    Ok(pictures::answers(&image, &shown, target, &model.categories))
}
