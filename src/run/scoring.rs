//! Predicts a split and scores it: the model's thread predicts a batch while another scores the one before.

use std::{
    path::PathBuf,
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
    predictor::Predictor,
    sent::{SentBatch, SentImage},
};
use sonotune_base::{Error, ImageId};
use sonotune_dataset::Dataset;
use sonotune_engine::{
    batch::{Batch, Target},
    determinism,
    loader::{BadImage, LoadPlan, Loader, Skipped},
    parallel::Ranks,
    task::{Evaluator, Prediction},
};
use sonotune_metrics::{ImageScores, Report};
use sonotune_report::{Ranked, Ranking};

/// A report, pictures of the first images with their predictions, and of the best and worst.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) report: Report,
    pub(super) pictures: Vec<RgbImage>,
    /// Images that could not be used and are not in the report.
    pub(super) skipped: Vec<BadImage>,
    pub(super) ranked: Option<Ranked>,
    /// In the order of the dataset; empty unless asked for.
    pub(super) images: Vec<ScoredImage>,
}

/// What is known of one image's prediction.
#[derive(Debug, Clone)]
pub struct ScoredImage {
    pub image_id: ImageId,
    pub path: PathBuf,
    pub scores: ImageScores,
}

/// What to give beside the report.
#[derive(Clone, Copy, Default)]
pub(super) struct Extras<'a> {
    /// Pictures of the first images.
    pub(super) num_pictures: usize,
    /// The scores of each image.
    pub(super) of_images: bool,
    /// Called after each image, with the number of images scored.
    pub(super) progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

/// A batch with its predictions, and the dataset index of each of its images.
enum Predicted {
    Here {
        batch: Batch,
        predictions: Vec<Prediction>,
        records: Vec<usize>,
    },
    /// By another process.
    Elsewhere(SentBatch),
}

/// Predicts and scores every image of `dataset`. With several processes, each predicts its batches, and
/// rank 0 scores them in the order of the dataset; the others return nothing. Batches are the same for any
/// number of processes, and so are the scores.
pub(super) fn score(
    predictor: &Predictor,
    ranks: &Ranks,
    dataset: Arc<Dataset>,
    plan: &LoadPlan,
    extras: Extras<'_>,
) -> Result<Option<Scored>> {
    if dataset.records.is_empty() {
        return Err(Error::data(format!("{} holds no images", dataset.source.display())).into());
    }
    let model = predictor.model;
    let plan = LoadPlan { share: ranks.share(), ..model.eval_plan(plan) };
    let started = || {
        let evaluator = determinism::guarded(panicked, || model.task.evaluator())?;
        Ok((evaluator, Loader::eval(dataset.clone(), plan.clone())?))
    };
    let (evaluator, mut batches) = ranks.agree(started())?;
    let pass = Pass { predictor, ranks, dataset: &dataset, plan: &plan };
    if !ranks.is_first() {
        pass.predict_for_first(&mut batches)?;
        return Ok(None);
    }
    let scorer = Scorer {
        evaluator,
        dataset: &dataset,
        plan: &plan,
        legend: Legend::of(model),
        extras,
        pictures: Vec::new(),
        ranking: Ranking::default(),
        images: Vec::new(),
        num_scored: 0,
    };
    let mut scored = thread::scope(|scope| {
        // No more than one batch waits to be scored: each holds its images.
        let (sender, predicted) = sync_channel(1);
        let scorer = scope.spawn(move || scorer.run(&predicted));
        let outcome = match ranks.is_alone() {
            true => pass.predict_all(&mut batches, sender),
            false => pass.predict_as_first(&mut batches, sender),
        };
        let scored = scorer.join().map_err(|_| anyhow!("the scoring thread died")).flatten();
        let finish = |scorer: Scorer<'_>| scorer.finish();
        match outcome {
            // The others know already.
            Err(Agreed(error)) => Err(error),
            // What scoring found belongs to an earlier batch than what prediction did.
            Ok(outcome) => {
                let report = scored.and_then(|s| outcome.map(|()| s)).and_then(finish);
                ranks.wait_for_first()?;
                ranks.agree(report)
            }
        }
    })?;
    let notes = dataset.notes.iter().map(|note| ("dataset".to_owned(), note.clone()));
    scored.report.conditions.extend(predictor.conditions().into_iter().chain(notes));
    scored.skipped = batches.newly_skipped();
    if !scored.skipped.is_empty() {
        let (left_out, all) = (scored.skipped.len(), dataset.records.len());
        let condition = format!("{left_out} of {all} images, which could not be used");
        scored.report.conditions.push(("skipped".to_owned(), condition));
    }
    Ok(Some(scored))
}

/// An error that all processes have.
struct Agreed(anyhow::Error);

/// A split that is predicted. With several processes, each has one batch in each round.
struct Pass<'a> {
    predictor: &'a Predictor<'a>,
    ranks: &'a Ranks,
    dataset: &'a Dataset,
    plan: &'a LoadPlan,
}

/// A process's own batches, as the rounds come.
struct Own<'a> {
    batches: &'a mut Loader,
    /// One that came earlier than its round, since every image of another was skipped.
    early: Option<(u64, Batch)>,
}

impl Pass<'_> {
    /// Predicts one batch after another, until all are predicted or the scorer has given up.
    fn predict_all(
        &self,
        batches: &mut Loader,
        scorer: SyncSender<Predicted>,
    ) -> Result<Result<()>, Agreed> {
        let mut all = || {
            while let Some(batch) = batches.next() {
                let predicted = self.here(batch?, batches.records())?;
                if scorer.send(predicted).is_err() {
                    break;
                }
            }
            Ok(())
        };
        Ok(all())
    }

    /// Predicts a batch with the images `records`.
    fn here(&self, batch: Batch, records: &[usize]) -> Result<Predicted> {
        let predictions = self.predictor.predict(&batch, self.dataset, records)?;
        Ok(Predicted::Here { batch, predictions, records: records.to_vec() })
    }

    fn rounds(&self) -> u64 {
        let batches = self.dataset.records.len().div_ceil(self.plan.loader.batch_size);
        batches.div_ceil(self.ranks.world_size()) as u64
    }

    /// This process's batch of a round with its predictions, if there is one.
    fn predict(&self, own: &mut Own<'_>, round: u64) -> Result<Option<Predicted>> {
        let number = round * self.ranks.world_size() as u64 + self.ranks.rank() as u64;
        if own.early.is_none() {
            let next = own.batches.next().transpose()?;
            own.early = next.map(|batch| (own.batches.number(), batch));
        }
        match own.early.take() {
            Some((at, batch)) if at == number => self.here(batch, own.batches.records()).map(Some),
            later => {
                own.early = later;
                Ok(None)
            }
        }
    }

    fn predict_for_first(&self, batches: &mut Loader) -> Result<()> {
        let mut own = Own { batches, early: None };
        for round in 0..self.rounds() {
            let predicted = self.ranks.agree(self.predict(&mut own, round))?;
            let mut sent = SentBatch::default();
            if let Some(Predicted::Here { batch, predictions, records }) = predicted {
                let all = predictions.iter().zip(&batch.targets).zip(records);
                let image = |((p, target), record)| SentImage::new(record, target, p);
                sent.images = all.map(image).collect();
            }
            sent.skipped = own.batches.newly_skipped().iter().map(Skipped::from).collect();
            self.ranks.gather(sent.to_bytes()?)?;
        }
        // Scores of a large split may take rank 0 longer than anybody waits in an exchange.
        self.ranks.wait_for_first()?;
        self.ranks.agree(Ok(()))
    }

    /// As rank 0. The inner result concerns this process alone, which must still tell the others.
    fn predict_as_first(
        &self,
        batches: &mut Loader,
        scorer: SyncSender<Predicted>,
    ) -> Result<Result<()>, Agreed> {
        let mut own = Own { batches, early: None };
        for round in 0..self.rounds() {
            let here = self.ranks.agree(self.predict(&mut own, round)).map_err(Agreed)?;
            let others = self.ranks.gather(Vec::new()).map_err(Agreed)?;
            match self.hand_over(own.batches, here, &others, &scorer) {
                Ok(true) => {}
                // The scorer has given up, and says why.
                Ok(false) => break,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Gives the scorer the batches of a round in order; returns whether it still takes them.
    fn hand_over(
        &self,
        batches: &mut Loader,
        here: Option<Predicted>,
        others: &[Vec<u8>],
        scorer: &SyncSender<Predicted>,
    ) -> Result<bool> {
        let mut round: Vec<Predicted> = here.into_iter().collect();
        for bytes in others.iter().skip(1) {
            let sent = SentBatch::of_bytes(bytes)?;
            batches.count_skipped(sent.bad_images(self.dataset)?)?;
            round.push(Predicted::Elsewhere(sent));
        }
        Ok(round.into_iter().all(|predicted| scorer.send(predicted).is_ok()))
    }
}

/// Adds up predictions, on a thread of its own.
struct Scorer<'a> {
    evaluator: Box<dyn Evaluator>,
    dataset: &'a Dataset,
    plan: &'a LoadPlan,
    legend: Legend<'a>,
    extras: Extras<'a>,
    pictures: Vec<RgbImage>,
    ranking: Ranking,
    images: Vec<ScoredImage>,
    num_scored: u64,
}

impl Scorer<'_> {
    fn run(mut self, predicted: &Receiver<Predicted>) -> Result<Self> {
        for batch in predicted {
            match batch {
                Predicted::Here { batch, predictions, records } => {
                    let all = predictions.iter().zip(&batch.targets).zip(records);
                    for (index, ((prediction, target), record)) in all.enumerate() {
                        self.add(prediction, target, record, Some((&batch, index)))?;
                    }
                }
                Predicted::Elsewhere(sent) => {
                    for image in sent.images {
                        let record = image.record;
                        let (prediction, target) = image.restore(self.dataset, self.plan)?;
                        self.add(&prediction, &target, record, None)?;
                    }
                }
            }
        }
        Ok(self)
    }

    fn add(
        &mut self,
        prediction: &Prediction,
        target: &Target,
        record: usize,
        batch: Option<(&Batch, usize)>,
    ) -> Result<()> {
        determinism::guarded(panicked, || self.evaluator.add(prediction, target))
            .with_context(|| format!("scoring {}", target.path.display()))?;
        let drawing = Drawing { legend: self.legend, target, prediction };
        let record = &self.dataset.records[record];
        let image = || self.legend.input(self.plan, batch, std::slice::from_ref(record));
        if self.pictures.len() < self.extras.num_pictures {
            self.pictures.push(drawing.large(&image()?));
        }
        if let Some(score) = self.evaluator.image_score() {
            self.ranking.add(&score, || Ok(drawing.small(&image()?)))?;
        }
        if self.extras.of_images {
            let of_image = || self.evaluator.image_scores(prediction, target);
            let scores = determinism::guarded(panicked, of_image)
                .with_context(|| format!("scoring {}", target.path.display()))?;
            let (image_id, path) = (record.image_id.clone(), record.name());
            self.images.push(ScoredImage { image_id, path, scores });
        }
        self.num_scored += 1;
        if let Some(progress) = self.extras.progress {
            progress(self.num_scored);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Scored> {
        let report = determinism::guarded(panicked, || self.evaluator.finish())?;
        let Self { pictures, ranking, mut images, .. } = self;
        ImageScores::align(images.iter_mut().map(|image| &mut image.scores));
        Ok(Scored { report, pictures, skipped: Vec::new(), ranked: ranking.finish(), images })
    }
}

fn panicked() -> String {
    "the task panicked while scoring".to_owned()
}
