//! Predicts on new images, with prompts for promptable models.

mod coco;
mod masks;
mod names;
mod outputs;
mod sources;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Result;

use super::{
    evaluate::{decided, predict_batch},
    model::{Model, ModelSource, Opened},
    stored_notes::StoredNotes,
};
use crate::predict::{
    coco::Info,
    outputs::{Outputs, prepare},
    sources::{Asked, base_of},
};
pub use crate::predict::{masks::MaskFiles, sources::PromptSource};
use crate::{
    config::{Loaded, RunConfig},
    logging::pictures,
};
use sonotune_base::{
    Category, Error,
    error::{ErrorKind, exit_code},
};
use sonotune_dataset::{Dataset, ImagePrompts, ObjectPrompt, Split, files::relative_text};
use sonotune_engine::loader::BadImages;
use sonotune_engine::{
    batch::{Batch, Target},
    checkpoint,
    device::{self, Ready},
    loader::{LoadPlan, Loader, prepare_batch},
    task::{Instance, Prediction},
};

/// What to predict, and where to write it.
#[derive(Debug, Clone)]
pub struct PredictOptions {
    /// An image, or a folder to search for images.
    pub images: PathBuf,
    /// The prompts for a promptable model.
    pub prompts: PromptSource,
    /// Receives `predictions.csv`, `predictions.json`, `masks/` and `pictures/`.
    pub out: PathBuf,
    pub source: ModelSource,
    /// Objects found without a prompt are left out below this score; `None`: the task's own limit.
    pub min_score: Option<f64>,
    pub masks: MaskFiles,
    /// Also draw every prediction on its image.
    pub pictures: bool,
    /// Replace the predictions of an earlier call.
    pub overwrite: bool,
}

/// What was written.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PredictRecord {
    pub checkpoint: PathBuf,
    /// Other files that pretrained weights come from: parts and the overlay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<PathBuf>,
    /// Whether the weights are the moving average over the run's steps.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub averaged: bool,
    /// Number of images with a prediction.
    pub num_images: usize,
    /// `None`: the task classifies images and does not find objects.
    pub num_objects: Option<usize>,
    /// Why images have no prediction: one message each.
    pub failures: Vec<String>,
    /// Images without prompts.
    pub without_prompts: Vec<String>,
    /// What else is worth knowing, one sentence each.
    pub notes: Vec<String>,
    pub csv: PathBuf,
    pub json: PathBuf,
    pub masks: Option<PathBuf>,
    pub pictures: Option<PathBuf>,
}

/// Predicts with a checkpoint of the run whose config is `loaded`, or with its pretrained weights.
///
/// # Errors
/// Of kind config, data or weights. A problem with a single image is not an error but one of the
/// record's failures.
pub fn predict(loaded: &Loaded, options: &PredictOptions) -> Result<PredictRecord> {
    let takes_prompts = loaded.config.task.takes_prompts();
    options.prompts.check(takes_prompts)?;
    let by_protocol = with_protocol(loaded, &options.prompts)?;
    let loaded = by_protocol.as_ref().unwrap_or(loaded);
    let decided = decided(loaded, &options.source)?;
    let config = &decided.as_ref().map_or(loaded, |decided| &decided.loaded).config;
    let Ready { place, notes: on_device, .. } = device::prepare(config.compute())?;
    let asked = Asked::gather(&options.prompts, &options.images)?;
    let categories = match options.source {
        ModelSource::Pretrained if takes_prompts => asked.categories(None)?,
        ModelSource::Pretrained => known_categories(config)?,
        _ => Vec::new(),
    };
    let Opened { model, path: checkpoint, beside, averaged, .. } =
        Model::open(config, place, &options.source, &categories)?;
    let categories = match options.source {
        ModelSource::Pretrained => categories,
        _ => asked.categories(Some(&model.categories))?,
    };
    prepare(options)?;

    let without_prompts = asked.without_prompts.clone();
    let dataset = Arc::new(asked.into_dataset(&categories));
    let keeps_ids = matches!(options.prompts, PromptSource::Annotations { .. });
    let mut predicting = Predicting {
        model: &model,
        plan: naming_every_failure(model.eval_plan(&model.load_plan())),
        min_score: options.min_score.unwrap_or(config.task.min_score()),
        outputs: Outputs::new(options, &categories, keeps_ids, takes_prompts)?,
        base: base_of(&options.images).to_owned(),
        categories: &categories,
        failures: Vec::new(),
        notes: Notes {
            others: dataset.notes.iter().cloned().chain(on_device).collect(),
            ..Notes::default()
        },
    };
    predicting.all(&dataset)?;
    let Predicting { outputs, failures, notes, min_score, .. } = predicting;
    let record = PredictRecord {
        checkpoint,
        beside,
        averaged,
        num_images: outputs.num_images,
        num_objects: outputs.num_objects(),
        failures,
        without_prompts,
        notes: notes.sentences(min_score),
        csv: outputs.csv.clone(),
        json: outputs.json.clone(),
        masks: outputs.masks_folder(),
        pictures: outputs.pictures.clone(),
    };
    outputs.finish(&Info {
        description: "predicted by Sonotune",
        version: env!("CARGO_PKG_VERSION"),
        checkpoint: &record.checkpoint,
        beside: &record.beside,
        prompts: options.prompts.describe(),
        failures: &record.failures,
        without_prompts: &record.without_prompts,
        notes: &record.notes,
    })?;
    Ok(record)
}

/// The categories of pretrained weights: those of the dataset; without one, those that a checkpoint
/// of a run was trained for.
fn known_categories(config: &RunConfig) -> Result<Vec<Category>> {
    if config.dataset.is_some() {
        return Ok(config.dataset()?.open(Split::Train)?.categories);
    }
    let weights = config.weights.as_ref().map(|weights| &weights.path);
    match weights.map(|path| checkpoint::read_progress(path)) {
        Some(Ok(progress)) => Ok(progress.categories),
        _ => Err(Error::config(
            "missing table `[dataset]`: this task predicts categories, and only [dataset] or a \
             checkpoint of a run as weights.path says which",
        )
        .into()),
    }
}

/// The config whose task uses the protocol that the source names.
fn with_protocol(loaded: &Loaded, source: &PromptSource) -> Result<Option<Loaded>> {
    let PromptSource::Annotations { protocol, .. } = source else { return Ok(None) };
    let protocol = toml::Value::String(protocol.clone());
    loaded.with_overrides(&[format!("task.evaluation.protocols=[{protocol}]")]).map(Some)
}

/// Makes every image without a prediction one of the record's failures, whatever training does.
fn naming_every_failure(mut plan: LoadPlan) -> LoadPlan {
    plan.loader.bad_images = BadImages::Fail;
    plan
}

/// Pixels of the mask, or of the box if there is no mask.
fn area(instance: &Instance) -> f64 {
    let [x0, y0, x1, y1] = instance.bbox;
    instance.mask.as_ref().map_or((x1 - x0) * (y1 - y0), |mask| mask.area() as f64)
}

/// A prediction in progress.
struct Predicting<'a> {
    model: &'a Model<'a>,
    plan: LoadPlan,
    min_score: f64,
    outputs: Outputs<'a>,
    /// Folder that image names are relative to.
    base: PathBuf,
    categories: &'a [Category],
    failures: Vec<String>,
    notes: Notes,
}

/// A batch with the model's answers.
struct Answered {
    batch: Batch,
    predictions: Vec<Prediction>,
    notes: Vec<String>,
}

impl Predicting<'_> {
    /// Predicts on every usable image, in batches and in order. One damaged file, or prompts outside
    /// their image, must not cost the predictions of a thousand good ones.
    fn all(&mut self, dataset: &Arc<Dataset>) -> Result<()> {
        let records = dataset.records.chunks(self.plan.loader.batch_size);
        for (batch, records) in Loader::eval(dataset.clone(), self.plan.clone())?.zip(records) {
            let whole = match batch {
                Ok(batch) => self.answer(batch)?,
                Err(error) => Err(error),
            };
            match whole {
                Ok(answered) => self.take_in(answered)?,
                Err(error) if records.len() == 1 => self.failures.push(format!("{error:#}")),
                Err(_) => {
                    for record in records {
                        match prepare_batch(std::slice::from_ref(record), &self.plan) {
                            Ok(batch) => match self.answer(batch)? {
                                Ok(answered) => self.take_in(answered)?,
                                Err(error) => self.failures.push(format!("{error:#}")),
                            },
                            Err(error) => self.failures.push(format!("{error:#}")),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The inner error concerns one image, the outer one any image.
    fn answer(&self, mut batch: Batch) -> Result<Result<Answered>> {
        let mut notes = Vec::new();
        for target in &mut batch.targets {
            let name = relative_text(&target.path, &self.base);
            notes.extend(clip_boxes(target).into_iter().map(|note| format!("{name}: {note}")));
        }
        match predict_batch(self.model, &batch) {
            Ok(predictions) => Ok(Ok(Answered { batch, predictions, notes })),
            Err(error) if exit_code(&error) == ErrorKind::Data.exit_code() => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    fn take_in(&mut self, answered: Answered) -> Result<()> {
        let Answered { batch, predictions, notes } = answered;
        self.notes.others.extend(notes);
        for (index, (mut prediction, target)) in
            predictions.into_iter().zip(&batch.targets).enumerate()
        {
            if target.prompts.is_none() && !target.objects.is_empty() {
                last_answers(&mut prediction.instances);
                self.notes.not_asked += target.objects.len() - prediction.instances.len();
            }
            let found = prediction.instances.len();
            prediction.keep_from(self.min_score);
            self.notes.below_min_score += found - prediction.instances.len();
            let is_empty = |i: &&Instance| i.mask.as_ref().is_some_and(|mask| mask.area() == 0);
            let finds = !prediction.is_of_image();
            self.notes.without_objects += usize::from(finds && prediction.instances.is_empty());
            self.notes.empty_masks += prediction.instances.iter().filter(is_empty).count();
            let name = relative_text(&target.path, &self.base);
            self.notes.stored.add(&name, target.stored);
            let picture = || {
                let image = batch.images.get(index as i64);
                let image =
                    pictures::denormalise(&image, target.input_size, &self.model.spec.input)?;
                Ok(pictures::answers(&image, &prediction, target, self.categories))
            };
            self.outputs.add(&name, target, &prediction, picture)?;
        }
        Ok(())
    }
}

/// Clips boxes at the borders of their image; reports which.
fn clip_boxes(target: &mut Target) -> Vec<String> {
    let Some(ImagePrompts::Objects(prompts)) = &mut target.prompts else { return Vec::new() };
    let size = target.original_size;
    let clip = |(i, prompt): (usize, &mut ObjectPrompt)| {
        // A box entirely outside the image is refused as it was given.
        prompt.check(size).ok()?;
        let [x0, y0, x1, y1] = prompt.clip_box(size)?;
        let name = prompt.name.as_deref().map_or_else(String::new, |name| format!(" (\"{name}\")"));
        let (height, width) = size;
        Some(format!(
            "the box [{x0}, {y0}, {x1}, {y1}] of prompt {}{name} reaches beyond the image of \
             {height}x{width} pixels (height x width) and was clipped",
            i + 1
        ))
    };
    prompts.iter_mut().enumerate().filter_map(clip).collect()
}

/// Keeps only the answer to the last question about each object, the one after all clicks.
fn last_answers(instances: &mut Vec<Instance>) {
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for answer in instances.iter().filter_map(|instance| instance.answers) {
        let pass = last.entry(answer.object).or_default();
        *pass = answer.pass.max(*pass);
    }
    instances.retain(|i| i.answers.is_none_or(|a| last.get(&a.object) == Some(&a.pass)));
}

#[derive(Debug, Default)]
struct Notes {
    others: Vec<String>,
    stored: StoredNotes,
    below_min_score: usize,
    /// Annotated objects that are crowds or have no pixels.
    not_asked: usize,
    empty_masks: usize,
    without_objects: usize,
}

impl Notes {
    fn sentences(self, min_score: f64) -> Vec<String> {
        let mut sentences = self.others;
        sentences.extend(self.stored.sentences());
        if self.below_min_score > 0 {
            sentences.push(format!(
                "{} object(s) with a score below {min_score} were left out (--min-score)",
                self.below_min_score
            ));
        }
        if self.not_asked > 0 {
            sentences.push(format!(
                "{} annotated object(s) were not used as prompts: crowds, or without pixels",
                self.not_asked
            ));
        }
        if self.without_objects > 0 {
            sentences.push(format!("{} image(s) without an object", self.without_objects));
        }
        if self.empty_masks > 0 {
            sentences.push(format!(
                "{} answer(s) are empty masks; they are in the files with area 0",
                self.empty_masks
            ));
        }
        sentences
    }
}
