//! Scoring a model on a split.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use image::RgbImage;
use tch::no_grad;

use super::{
    drawing::{Drawing, input_picture},
    model::{Decided, Model, ModelSource, Opened, decided_by_weights},
    scored_images, skipped,
};
use crate::config::Loaded;
use crate::logging::device_label;
use sonotune_base::Error;
use sonotune_dataset::{Dataset, Split, Statistics};
use sonotune_engine::device::autocast;
use sonotune_engine::{
    batch::Batch,
    determinism, device,
    loader::{BadImage, LoadPlan, Loader},
    task::Prediction,
};
use sonotune_metrics::{Metric, Report};
use sonotune_report::{Ranked, Ranking, Shown};
use sonotune_run_folder::EvalRecord;

/// What to score.
#[derive(Debug, Clone)]
pub struct EvalOptions {
    pub split: Split,
    pub source: ModelSource,
}

/// A score, and what its run's report shows of it.
#[derive(Debug)]
pub struct Evaluated {
    pub record: EvalRecord,
    pub shown: Shown,
}

/// Scores a checkpoint of the run whose config is `loaded`.
///
/// # Errors
/// Of kind config, data or weights.
pub fn evaluate(loaded: &Loaded, options: &EvalOptions) -> Result<Evaluated> {
    let decided = decided(loaded, &options.source)?;
    let config = &decided.as_ref().map_or(loaded, |decided| &decided.loaded).config;
    let place = device::prepare(config.compute())?.place;
    let dataset = scored_images::open(config, options.split)?;
    let Opened { model, path: checkpoint, beside, step, averaged, .. } =
        Model::open(config, place, &options.source, &dataset.categories)?;
    require_same_categories(&model, &dataset, &checkpoint)?;
    let scored = score(&model, dataset.clone(), &model.load_plan(), 0)?;
    let shown = Shown {
        split: options.split,
        step,
        counts: Statistics::of(&dataset),
        report: scored.report.clone(),
        ranked: scored.ranked,
    };
    let record = EvalRecord {
        checkpoint,
        beside,
        step,
        averaged,
        device: device_label(place.device),
        precision: place.precision.name().to_owned(),
        split: options.split,
        dataset: dataset.source.clone(),
        dataset_sha256: dataset.source_sha256.clone(),
        num_images: dataset.records.len(),
        num_objects: dataset.num_objects(),
        dataset_notes: dataset.notes.clone(),
        skipped: scored.skipped.iter().map(|bad| skipped::record(bad, step)).collect(),
        categories: dataset.category_names().map(str::to_owned).collect(),
        report: scored.report,
    };
    Ok(Evaluated { record, shown })
}

/// Same as [`decided_by_weights`], except that a run's own config has already recorded it.
pub(super) fn decided(loaded: &Loaded, source: &ModelSource) -> Result<Option<Decided>> {
    if *source == ModelSource::Pretrained { decided_by_weights(loaded) } else { Ok(None) }
}

fn require_same_categories(model: &Model, dataset: &Dataset, checkpoint: &Path) -> Result<()> {
    let names = |categories: &[sonotune_base::Category]| {
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

/// A report, pictures of the first images with their predictions, and of the best and worst.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) report: Report,
    pub(super) pictures: Vec<RgbImage>,
    /// Images that could not be used and are not in the report.
    pub(super) skipped: Vec<BadImage>,
    pub(super) ranked: Option<Ranked>,
}

/// Predicts and scores every image of `dataset`.
pub(super) fn score(
    model: &Model,
    dataset: Arc<Dataset>,
    plan: &LoadPlan,
    num_pictures: usize,
) -> Result<Scored> {
    if dataset.records.is_empty() {
        return Err(Error::data(format!("{} holds no images", dataset.source.display())).into());
    }
    let scoring = || "the task panicked while scoring".to_owned();
    let mut evaluator = determinism::guarded(scoring, || model.task.evaluator())?;
    let (mut pictures, mut ranking) = (Vec::new(), Ranking::default());
    let plan = model.eval_plan(plan);
    let mut batches = Loader::eval(dataset.clone(), plan.clone())?;
    while let Some(batch) = batches.next() {
        let batch = batch?;
        let predictions = predict_batch(model, &batch)?;
        for (index, (prediction, target)) in predictions.iter().zip(&batch.targets).enumerate() {
            determinism::guarded(scoring, || evaluator.add(prediction, target))
                .with_context(|| format!("scoring {}", target.path.display()))?;
            let drawing = Drawing { model, target, prediction };
            let record = &dataset.records[batches.records()[index]];
            let image = || input_picture(model, &plan, &batch, std::slice::from_ref(record), index);
            if pictures.len() < num_pictures {
                pictures.push(drawing.large(&image()?));
            }
            if let Some(score) = evaluator.image_score() {
                ranking.add(&score, || Ok(drawing.small(&image()?)))?;
            }
        }
    }
    let mut report = determinism::guarded(scoring, || evaluator.finish())?;
    let notes = dataset.notes.iter().map(|note| ("dataset".to_owned(), note.clone()));
    report.conditions.extend(notes);
    let skipped = batches.newly_skipped();
    if !skipped.is_empty() {
        let (left_out, all) = (skipped.len(), dataset.records.len());
        let condition = format!("{left_out} of {all} images, which could not be used");
        report.conditions.push(("skipped".to_owned(), condition));
    }
    Ok(Scored { report, pictures, skipped, ranked: ranking.finish() })
}

/// The metric that picks the best checkpoint.
///
/// # Errors
/// Of kind config if the task does not report that metric; lists those it does.
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

/// Where a task panicked.
fn predicting(batch: &Batch) -> String {
    let images: Vec<_> = batch.targets.iter().map(|t| t.path.display().to_string()).collect();
    format!("the task panicked while predicting the images {}", images.join(", "))
}

/// Predictions for a batch on the CPU.
pub(super) fn predict_batch(model: &Model, batch: &Batch) -> Result<Vec<Prediction>> {
    let predict = || {
        // Within the guard: a device without memory for the batch panics here.
        let on_device = batch.shallow_clone().to_device(model.device());
        model.task.predict(&on_device)
    };
    let predictions = no_grad(|| -> Result<Vec<Prediction>> {
        let _scope = autocast(model.precision, model.device())?;
        determinism::guarded(|| predicting(batch), predict)
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
            "the task predicted image {} where image {} ({}) was expected: predictions come in the order \
             of the batch",
            prediction.image_id,
            target.image_id,
            target.path.display()
        );
    }
    Ok(predictions)
}
