//! Predicts on new images, with prompts for promptable models.

mod answers;
mod carry;
mod clips;
mod coco;
mod masks;
mod measures;
mod names;
mod notes;
mod outputs;
mod overlay;
mod sources;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use tch::Tensor;

use super::{
    ensemble::{checkpoints, open_others},
    evaluate::{decided, require_same_model},
    model::{Model, ModelSource, Opened},
    predictor::Predictor,
    progress::PassBar,
};
pub(crate) use crate::predict::answers::clip_boxes;
use crate::predict::{
    answers::{Answering, Outcome},
    coco::Info,
    notes::Notes,
    outputs::{ImageName, Outputs, prepare},
    sources::{Asked, base_of},
};
pub use crate::predict::{clips::ClipScore, masks::MaskFiles, sources::PromptSource};
use crate::{
    config::{Loaded, RunConfig},
    logging::pictures,
};
use sonotune_base::{Category, Error};
use sonotune_dataset::{FrameChoice, Record, Split, files::relative_text};
use sonotune_engine::{
    batch::Target,
    checkpoint,
    device::{self, Compute, Ready},
    loader::{BadImages, LoadPlan, Loader, prepare_batch},
    parallel::Ranks,
    task::{Instance, Prediction},
};

/// What to predict, and where to write it.
#[derive(Debug, Clone)]
pub struct PredictOptions {
    /// An image, or a folder to search for images.
    pub images: PathBuf,
    /// Which frames of clips are predicted.
    pub frames: FrameChoice,
    /// The prompts for a promptable model.
    pub prompts: PromptSource,
    /// Carries the answers at prompted frames of a clip to its other frames: the box of a mask is the prompt of
    /// the next frame, forwards and backwards, as long as a mask has pixels.
    pub carry: bool,
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
    /// The processes that predict together.
    pub ranks: Arc<Ranks>,
}

/// What was written.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PredictRecord {
    pub checkpoint: PathBuf,
    /// Other files that pretrained weights come from: parts and the overlay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<PathBuf>,
    /// The checkpoints of an ensemble, whose predictions were averaged; none for `checkpoint` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ensemble: Vec<PathBuf>,
    /// Whether the weights are the moving average over the run's steps.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub averaged: bool,
    /// How the predictions were averaged, if they were: of an ensemble, of an image and its mirror image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<String, String>,
    /// Number of images with a prediction.
    pub num_images: usize,
    /// `None`: the task classifies images and does not find objects.
    pub num_objects: Option<usize>,
    /// What each clip is, from the scores of its frames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clips: Vec<ClipScore>,
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

/// Predicts with a checkpoint of the run whose config is `loaded`, or with its pretrained weights. With
/// several processes, each predicts a part, and rank 0 writes the files and has the record.
///
/// # Errors
/// Of kind config, data or weights. A problem with a single image is not an error but one of the
/// record's failures.
pub fn predict(loaded: &Loaded, options: &PredictOptions) -> Result<Option<PredictRecord>> {
    predict_ensemble(loaded, &[], options)
}

/// Same as [`predict()`], of the averaged predictions of the run of `loaded` and those of `others`, which use their best
/// checkpoint or their last. Device and number format are those of the first.
///
/// # Errors
/// Same errors as [`predict()`]; of kind config if the runs predict different things.
pub fn predict_ensemble(
    loaded: &Loaded,
    others: &[Loaded],
    options: &PredictOptions,
) -> Result<Option<PredictRecord>> {
    options.ranks.close(predict_together(loaded, others, options, &options.ranks))
}

fn predict_together(
    loaded: &Loaded,
    others: &[Loaded],
    options: &PredictOptions,
    ranks: &Ranks,
) -> Result<Option<PredictRecord>> {
    let takes_prompts = loaded.config.task.takes_prompts();
    let completed = || {
        options.prompts.check(takes_prompts)?;
        if options.carry {
            carry::check(&options.prompts, ranks.world_size())?;
        }
        let by_protocol = with_protocol(loaded, &options.prompts)?;
        let decided = decided(by_protocol.as_ref().unwrap_or(loaded), &options.source)?;
        let others = others.iter().map(|other| with_protocol(other, &options.prompts));
        let others = others.collect::<Result<Vec<_>>>()?;
        Ok((decided.map(|decided| decided.loaded).or(by_protocol), others))
    };
    let (completed, of_others) = ranks.agree(completed())?;
    let config = &completed.as_ref().unwrap_or(loaded).config;
    let others = of_others.iter().zip(others).map(|(own, other)| own.as_ref().unwrap_or(other));
    let others: Vec<&RunConfig> = others.map(|other| &other.config).collect();
    let opened = || {
        let compute = Compute { local: ranks.local(), ..config.compute() };
        let Ready { place, notes, .. } = device::prepare(compute)?;
        let asked = Asked::gather(&options.prompts, &options.images, options.frames)?;
        let categories = match options.source {
            ModelSource::Pretrained if takes_prompts => asked.categories(None)?,
            ModelSource::Pretrained => known_categories(config)?,
            _ => Vec::new(),
        };
        let opened = Model::open(config, place, &options.source, &categories)?;
        let others = open_others((config, &opened), &others, place)?;
        let categories = match options.source {
            ModelSource::Pretrained => categories,
            _ => asked.categories(Some(&opened.model.categories))?,
        };
        if ranks.is_first() {
            prepare(options)?;
        }
        Ok((opened, others, categories, asked, notes))
    };
    let (opened, others, categories, mut asked, on_device) = ranks.agree(opened())?;
    let ensemble = checkpoints(&opened, &others);
    let Opened { model, path: checkpoint, beside, averaged, .. } = opened;
    let predictor = ranks.agree(Predictor::new(&model, &others))?;

    let unasked = std::mem::take(&mut asked.unasked);
    let dataset = Arc::new(asked.into_dataset(&categories));
    let base = base_of(&options.images).to_owned();
    let (carried_to, unasked) =
        if options.carry { carry::divide(&dataset, unasked) } else { (Vec::new(), unasked) };
    let without_prompts: Vec<String> =
        unasked.iter().map(|record| relative_text(&record.name(), &base)).collect();
    predictor.models().try_for_each(|model| require_same_model(ranks, model, &dataset))?;
    let plan = naming_every_failure(model.eval_plan(&model.load_plan()));
    let answering = Answering {
        predictor: &predictor,
        plan: LoadPlan { share: ranks.share(), ..plan },
        base,
        dataset: &dataset,
    };
    if !ranks.is_first() {
        answering.for_first(ranks)?;
        return Ok(None);
    }
    let keeps_ids = matches!(options.prompts, PromptSource::Annotations { .. });
    let mut writing = Writing {
        answering: &answering,
        min_score: options.min_score.unwrap_or(config.task.min_score()),
        outputs: Outputs::new(
            options,
            &categories,
            (keeps_ids, takes_prompts),
            config.task.averaging(),
        )?,
        categories: &categories,
        failures: Vec::new(),
        bar: PassBar::new(dataset.records.len(), "predicting"),
        notes: Notes {
            others: dataset.notes.iter().cloned().chain(on_device).collect(),
            ..Notes::default()
        },
    };
    if options.carry {
        writing.carried(&carried_to)?;
    } else {
        writing.all(ranks)?;
    }
    let Writing { outputs, failures, notes, min_score, .. } = writing;
    let record = PredictRecord {
        checkpoint,
        beside,
        ensemble,
        averaged,
        conditions: predictor.conditions().into_iter().collect(),
        num_images: outputs.num_images,
        num_objects: outputs.num_objects(),
        clips: outputs.clip_scores()?,
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
        ensemble: &record.ensemble,
        conditions: &record.conditions,
        prompts: options.prompts.describe(options.carry),
        failures: &record.failures,
        without_prompts: &record.without_prompts,
        notes: &record.notes,
    })?;
    Ok(Some(record))
}

/// The categories of pretrained weights: those of the dataset; without one, those that a checkpoint
/// of a run was trained for.
pub(crate) fn known_categories(config: &RunConfig) -> Result<Vec<Category>> {
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

/// The predictions of all processes on their way into files.
struct Writing<'a> {
    answering: &'a Answering<'a>,
    min_score: f64,
    outputs: Outputs<'a>,
    categories: &'a [Category],
    failures: Vec<String>,
    bar: PassBar,
    notes: Notes,
}

/// A prediction, and where its picture comes from.
struct Answer<'a> {
    prediction: Prediction,
    record: &'a Record,
    /// The frame whose prompts it goes back to, if that is another one.
    carried_from: Option<u32>,
    target: &'a Target,
    image: &'a dyn Fn() -> Result<Tensor>,
}

impl Writing<'_> {
    /// Takes in all images, in order.
    fn all(&mut self, ranks: &Ranks) -> Result<()> {
        let answering = self.answering;
        let loader = Loader::eval(answering.dataset.clone(), answering.plan.clone());
        let mut batches = ranks.agree(loader)?;
        for _ in 0..answering.num_batches().div_ceil(ranks.world_size()) {
            let here = ranks.agree(answering.next(&mut batches))?.unwrap_or_default();
            let others = ranks.gather(Vec::new())?;
            if let Err(error) = self.round(here, others.get(1..).unwrap_or_default()) {
                return ranks.agree(Err(error));
            }
        }
        ranks.agree(Ok(()))
    }

    fn round(&mut self, here: Vec<Outcome>, others: &[Vec<u8>]) -> Result<()> {
        here.into_iter().try_for_each(|outcome| self.take_in(outcome))?;
        for bytes in others {
            Outcome::of_bytes(bytes)?.into_iter().try_for_each(|outcome| self.take_in(outcome))?;
        }
        Ok(())
    }

    fn take_in(&mut self, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Failed(why) => {
                self.failures.push(why);
                self.bar.done();
                Ok(())
            }
            Outcome::Answered { batch, predictions, first, notes } => {
                self.notes.others.extend(notes);
                let records = &self.answering.dataset.records[first..];
                for (index, ((prediction, target), record)) in
                    predictions.into_iter().zip(&batch.targets).zip(records).enumerate()
                {
                    let image = || Ok(batch.image(index));
                    self.write(Answer {
                        prediction,
                        record,
                        carried_from: None,
                        target,
                        image: &image,
                    })?;
                }
                Ok(())
            }
            Outcome::Elsewhere(sent) => {
                let Answering { dataset, plan, .. } = self.answering;
                let record = dataset.records.get(sent.record);
                let record = record
                    .context("another process sent an image of a split that has fewer here")?;
                let (prediction, mut target) = sent.restore(dataset, plan)?;
                self.notes.others.extend(clip_boxes(&mut target, &self.answering.base));
                let image = || Ok(prepare_batch(std::slice::from_ref(record), plan)?.image(0));
                self.write(Answer {
                    prediction,
                    record,
                    carried_from: None,
                    target: &target,
                    image: &image,
                })
            }
        }
    }

    fn write(&mut self, answer: Answer<'_>) -> Result<()> {
        self.bar.done();
        let Answer { mut prediction, record, carried_from, target, image } = answer;
        let base = &self.answering.base;
        let (name, file) = (relative_text(&target.path, base), relative_text(&record.path, base));
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
        let has_spacing = finds && target.spacing.is_some();
        self.notes.with_spacing += usize::from(has_spacing);
        self.notes.without_spacing += usize::from(finds && !has_spacing);
        self.notes.stored.add(&name, target.stored);
        let spec = &self.answering.predictor.model.spec.input;
        let picture = || {
            let image = pictures::denormalise(&image()?, target.input_size, spec)?;
            Ok(pictures::answers(&image, &prediction, target, self.categories))
        };
        let image = ImageName { file: &file, frame: record.frame, carried_from, name: &name };
        // Pictures show the part that was kept, files are about the whole image.
        self.outputs.add(image, target, &prediction.in_file(target)?, picture)
    }
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
