//! Scoring a model on a split.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use tch::no_grad;

use super::{
    model::{Decided, Model, ModelSource, Opened, decided_by_weights},
    scored_images,
    scoring::{Extras, ScoredImage, score},
    skipped,
};
use crate::config::Loaded;
use crate::logging::device_label;
use sonotune_base::Error;
use sonotune_dataset::{Dataset, Split, Statistics};
use sonotune_engine::device::autocast;
use sonotune_engine::{
    batch::Batch,
    determinism,
    device::{self, Compute},
    parallel::Ranks,
    task::Prediction,
};
use sonotune_metrics::{Metric, Report};
use sonotune_report::Shown;
use sonotune_run_folder::EvalRecord;

/// What to score.
#[derive(Debug, Clone)]
pub struct EvalOptions {
    pub split: Split,
    pub source: ModelSource,
    /// The processes that predict together.
    pub ranks: Arc<Ranks>,
}

/// A score, and what its run's report shows of it.
#[derive(Debug)]
pub struct Evaluated {
    pub record: EvalRecord,
    pub shown: Shown,
    /// In the order of the dataset.
    pub images: Vec<ScoredImage>,
}

/// Scores a checkpoint of the run whose config is `loaded`. With several processes, each predicts a part, and
/// rank 0 alone has the scores.
///
/// # Errors
/// Of kind config, data or weights.
pub fn evaluate(loaded: &Loaded, options: &EvalOptions) -> Result<Option<Evaluated>> {
    options.ranks.close(evaluate_together(loaded, options, &options.ranks))
}

fn evaluate_together(
    loaded: &Loaded,
    options: &EvalOptions,
    ranks: &Ranks,
) -> Result<Option<Evaluated>> {
    let decided = ranks.agree(decided(loaded, &options.source))?;
    let config = &decided.as_ref().map_or(loaded, |decided| &decided.loaded).config;
    let opened = || {
        let compute = Compute { local: ranks.local(), ..config.compute() };
        let place = device::prepare(compute)?.place;
        let dataset = scored_images::open(config, options.split)?;
        let opened = Model::open(config, place, &options.source, &dataset.categories)?;
        require_same_categories(&opened.model, &dataset, &opened.path)?;
        Ok((place, dataset, opened))
    };
    let (place, dataset, opened) = ranks.agree(opened())?;
    let Opened { model, path: checkpoint, beside, step, averaged, .. } = opened;
    require_same_model(ranks, &model, &dataset)?;
    let extras = Extras { of_images: true, ..Extras::default() };
    let Some(scored) = score(&model, ranks, dataset.clone(), &model.load_plan(), extras)? else {
        return Ok(None);
    };
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
    Ok(Some(Evaluated { record, shown, images: scored.images }))
}

/// Requires that all processes predict with the same weights on the same images.
pub(super) fn require_same_model(ranks: &Ranks, model: &Model, dataset: &Dataset) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    ranks.require_same(
        "images",
        &format!("{} in {}", dataset.records.len(), dataset.source.display()),
    )?;
    let mut variables: Vec<_> = model.vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    let values: Vec<_> = variables.into_iter().map(|(_, tensor)| tensor).collect();
    ranks.require_same("weights", &format!("{:?}", Ranks::fingerprint(&values)?))
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

/// What failed.
fn predicting(batch: &Batch) -> String {
    let images: Vec<_> = batch.targets.iter().map(|t| t.path.display().to_string()).collect();
    format!("predicting the images {}", images.join(", "))
}

/// Predictions for a batch on the CPU.
pub(super) fn predict_batch(model: &Model, batch: &Batch) -> Result<Vec<Prediction>> {
    let predict = || {
        // Within the guard: a device without memory for the batch panics here.
        let on_device = batch.shallow_clone().to_place(model.place())?;
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
