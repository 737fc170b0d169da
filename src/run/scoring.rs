//! Predicts a split and scores it: the model's thread predicts a batch while another scores the one before.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use anyhow::{Context, Result, anyhow};
use image::RgbImage;

use super::{
    drawing::{Drawing, Legend},
    evaluate::predict_batch,
    model::Model,
};
use sonotune_base::Error;
use sonotune_dataset::Dataset;
use sonotune_engine::{
    batch::Batch,
    determinism,
    loader::{BadImage, LoadPlan, Loader},
    task::{Evaluator, Prediction},
};
use sonotune_metrics::Report;
use sonotune_report::{Ranked, Ranking};

/// A report, pictures of the first images with their predictions, and of the best and worst.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) report: Report,
    pub(super) pictures: Vec<RgbImage>,
    /// Images that could not be used and are not in the report.
    pub(super) skipped: Vec<BadImage>,
    pub(super) ranked: Option<Ranked>,
}

/// A batch, its predictions, and the dataset index of each of its images.
struct Predicted {
    batch: Batch,
    predictions: Vec<Prediction>,
    records: Vec<usize>,
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
    let evaluator = determinism::guarded(panicked, || model.task.evaluator())?;
    let plan = model.eval_plan(plan);
    let mut batches = Loader::eval(dataset.clone(), plan.clone())?;
    let scorer = Scorer {
        evaluator,
        dataset: &dataset,
        plan: &plan,
        legend: Legend::of(model),
        num_pictures,
        pictures: Vec::new(),
        ranking: Ranking::default(),
    };
    let (mut report, pictures, ranked) = thread::scope(|scope| {
        // No more than one batch waits to be scored: each holds its images.
        let (sender, predicted) = sync_channel(1);
        let scorer = scope.spawn(move || scorer.run(&predicted));
        let outcome = predict_all(model, &mut batches, sender);
        let scored = scorer.join().map_err(|_| anyhow!("the scoring thread died"))?;
        // What scoring found belongs to an earlier batch than what prediction did.
        let scored = scored?;
        outcome?;
        scored.finish()
    })?;
    let notes = dataset.notes.iter().map(|note| ("dataset".to_owned(), note.clone()));
    report.conditions.extend(notes);
    let skipped = batches.newly_skipped();
    if !skipped.is_empty() {
        let (left_out, all) = (skipped.len(), dataset.records.len());
        let condition = format!("{left_out} of {all} images, which could not be used");
        report.conditions.push(("skipped".to_owned(), condition));
    }
    Ok(Scored { report, pictures, skipped, ranked })
}

/// Predicts one batch after another, until all are predicted or the scorer has given up.
fn predict_all(model: &Model, batches: &mut Loader, scorer: SyncSender<Predicted>) -> Result<()> {
    while let Some(batch) = batches.next() {
        let batch = batch?;
        let predictions = predict_batch(model, &batch)?;
        let predicted = Predicted { batch, predictions, records: batches.records().to_vec() };
        if scorer.send(predicted).is_err() {
            break;
        }
    }
    Ok(())
}

/// Adds up predictions, on a thread of its own.
struct Scorer<'a> {
    evaluator: Box<dyn Evaluator>,
    dataset: &'a Dataset,
    plan: &'a LoadPlan,
    legend: Legend<'a>,
    num_pictures: usize,
    pictures: Vec<RgbImage>,
    ranking: Ranking,
}

impl Scorer<'_> {
    fn run(mut self, predicted: &Receiver<Predicted>) -> Result<Self> {
        for batch in predicted {
            self.add(&batch)?;
        }
        Ok(self)
    }

    fn add(&mut self, predicted: &Predicted) -> Result<()> {
        let Predicted { batch, predictions, records } = predicted;
        for (index, (prediction, target)) in predictions.iter().zip(&batch.targets).enumerate() {
            determinism::guarded(panicked, || self.evaluator.add(prediction, target))
                .with_context(|| format!("scoring {}", target.path.display()))?;
            let drawing = Drawing { legend: self.legend, target, prediction };
            let record = &self.dataset.records[records[index]];
            let image = || self.legend.input(self.plan, batch, std::slice::from_ref(record), index);
            if self.pictures.len() < self.num_pictures {
                self.pictures.push(drawing.large(&image()?));
            }
            if let Some(score) = self.evaluator.image_score() {
                self.ranking.add(&score, || Ok(drawing.small(&image()?)))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Report, Vec<RgbImage>, Option<Ranked>)> {
        let report = determinism::guarded(panicked, || self.evaluator.finish())?;
        Ok((report, self.pictures, self.ranking.finish()))
    }
}

fn panicked() -> String {
    "the task panicked while scoring".to_owned()
}
