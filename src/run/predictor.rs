//! What predicts a batch: a model, or an ensemble, whose predictions of an image are averaged.

use anyhow::{Context, Result};
use tch::no_grad;

use super::model::{Model, Opened};
use crate::config::RunConfig;
use sonotune_base::Error;
use sonotune_dataset::{Dataset, Record, transforms::Cropping};
use sonotune_engine::{
    batch::{Batch, Target},
    determinism,
    device::autocast,
    loader::{LoadPlan, prepare_batch},
    task::{Averaging, Prediction},
};

/// One or several models. All are in memory: an image is predicted by each and averaged at once, so that memory
/// grows with the models, and not with the images, whose masks would have to be kept.
#[derive(Debug)]
pub(crate) struct Predictor<'a> {
    /// The first, whose batches the others share if they prepare images as it does.
    pub(crate) model: &'a Model<'a>,
    others: Vec<Other<'a>>,
    averaging: Option<Box<dyn Averaging>>,
}

#[derive(Debug)]
struct Other<'a> {
    model: &'a Model<'a>,
    /// How it prepares images, if not as the first.
    plan: Option<LoadPlan>,
}

impl<'a> Predictor<'a> {
    /// One model.
    pub(crate) fn alone(model: &'a Model<'a>) -> Self {
        Self { model, others: Vec::new(), averaging: None }
    }

    /// A model and `others`.
    ///
    /// # Errors
    /// Of kind config if its task cannot average predictions.
    pub(crate) fn new(model: &'a Model<'a>, others: &'a [Opened<'a>]) -> Result<Self> {
        if others.is_empty() {
            return Ok(Self::alone(model));
        }
        let of_first = model.eval_plan(&model.load_plan());
        let other = |opened: &'a Opened<'a>| {
            let model = &opened.model;
            let plan = model.eval_plan(&model.load_plan());
            let plan = Some(plan).filter(|plan| !prepare_alike(&of_first, plan));
            Other { model, plan }
        };
        let averaging = Some(averaging(model.config, "--ensemble")?);
        let crop = |model: &Model| model.config.preprocess.crop;
        if others.iter().any(|other| crop(&other.model) != crop(model)) {
            return Err(Error::config(
                "--ensemble: preprocess.crop is \"field_of_view\" for some runs and \"none\" for others; what they \
                 predict for different parts of an image cannot be averaged",
            )
            .into());
        }
        Ok(Self { model, others: others.iter().map(other).collect(), averaging })
    }

    /// All models, the first first.
    pub(crate) fn models(&self) -> impl Iterator<Item = &'a Model<'a>> {
        std::iter::once(self.model).chain(self.others.iter().map(|other| other.model))
    }

    /// Predictions for a batch on the CPU, which holds the images `records` of `dataset`.
    ///
    /// # Errors
    /// If a model cannot predict them, or its own preparation of the images fails.
    pub(crate) fn predict(
        &self,
        batch: &Batch,
        dataset: &Dataset,
        records: &[usize],
    ) -> Result<Vec<Prediction>> {
        let first = predict_batch(self.model, batch)?;
        let Some(averaging) = &self.averaging else { return Ok(first) };
        let mut all = vec![first.into_iter()];
        for Other { model, plan } in &self.others {
            let predictions = match plan {
                None => predict_batch(model, batch)?,
                Some(plan) => predict_batch(model, &prepared(batch, plan, dataset, records)?)?,
            };
            all.push(predictions.into_iter());
        }
        let average = |target: &Target| {
            let of_image: Vec<Prediction> = all.iter_mut().filter_map(Iterator::next).collect();
            averaging.average(&of_image).with_context(|| format!("image {}", target.path.display()))
        };
        batch.targets.iter().map(average).collect()
    }

    /// What a score depends on besides weights and data, for a report.
    pub(crate) fn conditions(&self) -> Vec<(String, String)> {
        let mut conditions = Vec::new();
        if let Some(averaging) = &self.averaging {
            let count = self.others.len() + 1;
            conditions
                .push(("ensemble".to_owned(), format!("{count} models: {}", averaging.rule())));
        }
        let flipped = self.models().filter(|model| model.config.evaluation.flip);
        if let Some(averaging) = flipped.filter_map(|model| model.config.task.averaging()).next() {
            let which = "each image and its mirror image";
            conditions.push(("flip".to_owned(), format!("{which}: {}", averaging.rule())));
        }
        if self.model.config.preprocess.crop == Cropping::FieldOfView {
            let what =
                "the field of view: of each image, only the ultrasound region is seen and scored";
            conditions.push(("crop".to_owned(), what.to_owned()));
        }
        conditions
    }
}

/// How the task of a config averages predictions, which `wanted_by` needs.
///
/// # Errors
/// Of kind config if it cannot.
pub(crate) fn averaging(config: &RunConfig, wanted_by: &str) -> Result<Box<dyn Averaging>> {
    config.task.averaging().ok_or_else(|| {
        let task = config.task.typetag_name();
        Error::config(format!("{wanted_by}: the task \"{task}\" cannot average predictions")).into()
    })
}

/// Whether both make the same of an image. Seeds, batch sizes and threads change nothing.
fn prepare_alike(a: &LoadPlan, b: &LoadPlan) -> bool {
    (&a.preprocess, &a.spec, a.needs, a.pixels) == (&b.preprocess, &b.spec, b.needs, b.pixels)
}

/// The images of `batch` as `plan` prepares them, and what is asked about them.
fn prepared(batch: &Batch, plan: &LoadPlan, dataset: &Dataset, records: &[usize]) -> Result<Batch> {
    let records: Vec<Record> =
        records.iter().filter_map(|&index| dataset.records.get(index).cloned()).collect();
    let mut own = prepare_batch(&records, plan)?;
    for (target, first) in own.targets.iter_mut().zip(&batch.targets) {
        // Their boxes may have been clipped.
        target.prompts.clone_from(&first.prompts);
    }
    Ok(own)
}

/// What failed.
fn predicting(batch: &Batch) -> String {
    let images: Vec<_> = batch.targets.iter().map(|t| t.path.display().to_string()).collect();
    format!("predicting the images {}", images.join(", "))
}

/// Predictions for a batch on the CPU; with `evaluation.flip` averaged with those for the mirror images.
pub(super) fn predict_batch(model: &Model, batch: &Batch) -> Result<Vec<Prediction>> {
    // Within the guard: a device without memory for the batch panics here.
    let predict = || predict_views(model, &batch.shallow_clone().to_place(model.place())?);
    no_grad(|| -> Result<Vec<Prediction>> {
        let _scope = autocast(model.precision, model.device())?;
        determinism::guarded(|| predicting(batch), predict)
    })
}

/// Predictions for a batch that is where the model computes already.
pub(super) fn predict_batch_in_place(model: &Model, batch: &Batch) -> Result<Vec<Prediction>> {
    no_grad(|| -> Result<Vec<Prediction>> {
        let _scope = autocast(model.precision, model.device())?;
        determinism::guarded(|| predicting(batch), || predict_views(model, batch))
    })
}

/// Predictions of the images as they are, or averaged with those of their mirror images.
fn predict_views(model: &Model, batch: &Batch) -> Result<Vec<Prediction>> {
    let plain = predict_images(model, batch)?;
    if !model.config.evaluation.flip {
        return Ok(plain);
    }
    let averaging = averaging(model.config, "evaluation.flip")?;
    let flipped = predict_images(model, &batch.mirrored()?)?;
    let average = |(plain, flipped): (Prediction, Prediction)| {
        averaging.average(&[plain, flipped.mirrored()])
    };
    plain.into_iter().zip(flipped).map(average).collect()
}

/// The task's predictions, checked to be those of the batch.
fn predict_images(model: &Model, batch: &Batch) -> Result<Vec<Prediction>> {
    let predictions = model.task.predict(batch)?;
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
