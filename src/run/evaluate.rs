//! Scoring a model on a split.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;

use super::{
    ensemble::{checkpoints, open_others},
    model::{Decided, Model, ModelSource, Opened, decided_by_weights},
    predictor::Predictor,
    progress::PassBar,
    scored_images,
    scoring::{Extras, ScoredImage, score},
    skipped,
};
use crate::config::{Loaded, RunConfig};
use crate::logging::device_label;
use sonotune_base::Error;
use sonotune_dataset::{Dataset, Split, Statistics};
use sonotune_engine::{
    device::{self, Compute},
    parallel::Ranks,
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
    evaluate_ensemble(loaded, &[], options)
}

/// Same as [`evaluate()`], of the averaged predictions of the run of `loaded` and those of `others`. Split, device
/// and number format are those of the first.
///
/// # Errors
/// Of kind config, data or weights; of kind config if the runs predict different things, or have different
/// images in the split.
pub fn evaluate_ensemble(
    loaded: &Loaded,
    others: &[Loaded],
    options: &EvalOptions,
) -> Result<Option<Evaluated>> {
    options.ranks.close(evaluate_together(loaded, others, options, &options.ranks))
}

fn evaluate_together(
    loaded: &Loaded,
    others: &[Loaded],
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
        let others: Vec<&RunConfig> = others.iter().map(|other| &other.config).collect();
        others.iter().try_for_each(|other| require_same_images(&dataset, other, options.split))?;
        let others = open_others((config, &opened), &others, place)?;
        Ok((place, dataset, opened, others))
    };
    let (place, dataset, opened, others) = ranks.agree(opened())?;
    let ensemble = checkpoints(&opened, &others);
    let Opened { model, path: checkpoint, beside, step, averaged, .. } = opened;
    let predictor = ranks.agree(Predictor::new(&model, &others))?;
    predictor.models().try_for_each(|model| require_same_model(ranks, model, &dataset))?;
    let bar = ranks.is_first().then(|| PassBar::new(dataset.records.len(), "scoring"));
    let done = |_| bar.iter().for_each(PassBar::done);
    let extras = Extras { of_images: true, progress: Some(&done), ..Extras::default() };
    let plan = model.load_plan();
    let Some(scored) = score(&predictor, ranks, dataset.clone(), &plan, extras)? else {
        return Ok(None);
    };
    drop(bar);
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
        ensemble,
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

/// Requires that the run `other` of an ensemble has the same images in the split.
fn require_same_images(dataset: &Dataset, other: &RunConfig, split: Split) -> Result<()> {
    let theirs = scored_images::open(other, split)?;
    let paths = |dataset: &Dataset| -> Vec<PathBuf> {
        dataset.records.iter().map(|record| record.name()).collect()
    };
    if paths(dataset) == paths(&theirs) {
        return Ok(());
    }
    Err(Error::config(format!(
        "--ensemble: the {split} split of {} is {}, with other images than {}; give one that none of the runs was \
         trained on to all of them, e.g. dataset.{split}=FILE",
        other.run_dir.display(),
        theirs.source.display(),
        dataset.source.display()
    ))
    .into())
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
