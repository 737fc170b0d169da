//! One evaluation batch, predicted and scored before the first step, to find whatever would end an
//! evaluation.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use serde::Serialize;

use super::{
    encoder::Encoder, evaluate::find_metric, largest_batch::largest, model::Model,
    predictor::predict_batch,
};
use sonotune_dataset::{Dataset, Record};
use sonotune_engine::loader::BadImages;
use sonotune_engine::{
    batch::Batch,
    loader::{LoadPlan, prepare_batch},
};

/// An evaluation batch, predicted and scored.
#[derive(Debug, Clone, Serialize)]
pub struct EvaluatedBatch {
    pub batch_size: usize,
    pub seconds: f64,
    /// Batches of the split.
    pub num_batches: usize,
    /// Names of the metrics that the task reports.
    pub metrics: Vec<String>,
}

/// Predicts and scores the largest batch of the validation split; from the embeddings of `encoder` if the run
/// has a cache of them.
///
/// # Errors
/// Whatever would end an evaluation, such as an `evaluation.best_metric` that the task does not report.
pub(super) fn evaluate(
    model: &Model,
    dataset: &Arc<Dataset>,
    plan: &LoadPlan,
    encoder: Option<&Encoder>,
) -> Result<EvaluatedBatch> {
    let plan = model.eval_plan(plan);
    let size = plan.loader.batch_size.min(dataset.records.len());
    let pad_to = plan.preprocess.padding(false);
    let chosen = largest(dataset, size, &plan.preprocess, pad_to, plan.needs);
    let records: Vec<_> = chosen.records.iter().map(|&i| dataset.records[i].clone()).collect();
    let mut batch = prepare_usable(records, &plan)?;
    if let Some(encoder) = encoder {
        batch = encoder.embedded(model, batch)?;
    }
    let mut evaluator = model.task.evaluator()?;
    let begin = Instant::now();
    let predictions = predict_batch(model, &batch)?;
    for (prediction, target) in predictions.iter().zip(&batch.targets) {
        evaluator.add(prediction, target)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let scores = evaluator.finish()?;
    if let Some(name) = &model.config.evaluation.best_metric {
        find_metric(&scores, name)?;
    }
    Ok(EvaluatedBatch {
        batch_size: size,
        seconds,
        num_batches: dataset.records.len().div_ceil(plan.loader.batch_size),
        metrics: scores.metrics.into_iter().map(|metric| metric.name).collect(),
    })
}

/// A batch of `records`. If the run skips bad images, a batch of the others, a few of them twice.
pub(super) fn prepare_usable(mut records: Vec<Record>, plan: &LoadPlan) -> Result<Batch> {
    let error = match prepare_batch(&records, plan) {
        Err(error) if plan.loader.bad_images == BadImages::Skip => error,
        batch => return batch,
    };
    let size = records.len();
    records.retain(|record| prepare_batch(std::slice::from_ref(record), plan).is_ok());
    if records.is_empty() {
        return Err(error);
    }
    let records: Vec<_> = records.iter().cycle().take(size).cloned().collect();
    prepare_batch(&records, plan)
}
