//! The thread that answers.

use anyhow::{Context, Result};
use sonotune_base::{Category, Error, panics::caught};
use sonotune_dataset::{ImagePrompts, ObjectPrompt};
use sonotune_engine::{
    batch::Batch,
    device::{self, Ready as OnDevice},
    loader::{LoadPlan, Seen, evaluation_target},
};

use super::{
    LiveAbout, LiveAnswer,
    embed::{Embedder, record},
    kept::Ready,
    queue::{Asked, Queue},
};
use crate::{
    config::Loaded,
    encoder::Encoder,
    evaluate::decided,
    model::{Model, ModelSource, Opened},
    predict::{clip_boxes, known_categories},
    predictor::predict_batch_in_place,
};

/// Opens the model, hands what describes it and its backbone to `opened`, and answers until the queue is closed.
///
/// # Errors
/// If it cannot be opened. What goes wrong with a question is its answer.
pub(super) fn run(
    loaded: &Loaded,
    source: &ModelSource,
    queue: &Queue,
    opened: impl FnOnce(LiveAbout, Embedder) -> bool,
) -> Result<()> {
    let decided = decided(loaded, source)?;
    let config = &decided.as_ref().map_or(loaded, |decided| &decided.loaded).config;
    let OnDevice { place, notes, .. } = device::prepare(config.compute())?;
    let takes_prompts = config.task.takes_prompts();
    let categories = match source {
        // Whatever it is prompted with; the categories are the asker's.
        ModelSource::Pretrained if takes_prompts => vec![object()],
        ModelSource::Pretrained => known_categories(config)?,
        _ => Vec::new(),
    };
    let Opened { model, path, step, .. } = Model::open(config, place, source, &categories)?;
    let plan = model.eval_plan(&model.load_plan());
    // The mirror image is predicted from its own pixels.
    let encoder = (!config.evaluation.flip).then(|| Encoder::sharing(&model)).transpose()?;
    let about = LiveAbout {
        task: config.task.typetag_name().to_owned(),
        backbone: config.backbone.typetag_name().to_owned(),
        takes_prompts,
        learns_from: config.task.learns_from(),
        categories: model.categories.clone(),
        min_score: config.task.min_score(),
        weights: path,
        step,
        device: format!("{:?}", place.device).to_lowercase(),
        notes,
    };
    let embedder = Embedder { encoder, place, plan: plan.clone() };
    if opened(about, embedder) {
        let answering = Answering { model, plan, takes_prompts };
        while let Some((asked, of_image)) = queue.next_question(OfImage::of) {
            answering.reply(asked, of_image);
        }
    }
    Ok(())
}

/// What promptable weights segment.
fn object() -> Category {
    Category { id: 1, name: "object".to_owned() }
}

struct Answering<'a> {
    model: Model<'a>,
    plan: LoadPlan,
    takes_prompts: bool,
}

/// What an answer needs of its image; tensors share their storage.
struct OfImage {
    batch: Batch,
    seen: Seen,
}

impl OfImage {
    fn of(ready: &Ready) -> Self {
        let seen = Seen { size: ready.size, crop: ready.crop };
        Self { batch: ready.batch.shallow_clone(), seen }
    }
}

impl Answering<'_> {
    fn reply(&self, mut asked: Asked, image: OfImage) {
        let reply = asked.reply.clone();
        let answer = caught(|| self.answer(&mut asked, image))
            .unwrap_or_else(|message| Err(anyhow::anyhow!("{}: {message}", asked.image.file)));
        // The one who asked may have gone.
        let _ = reply.send(answer);
    }

    fn answer(&self, asked: &mut Asked, image: OfImage) -> Result<LiveAnswer> {
        let mut record = record(&asked.image);
        record.prompts = match asked.prompts.take() {
            Some(_) if !self.takes_prompts => {
                let message = "this model takes no prompts: ask what it finds on its own";
                return Err(Error::config(message).into());
            }
            Some(prompts) => {
                self.check_categories(&prompts)?;
                Some(ImagePrompts::Objects(prompts))
            }
            None => self.takes_prompts.then_some(ImagePrompts::Everything),
        };
        let mut target = evaluation_target(&record, image.seen, &self.plan)?;
        clip_boxes(&mut target, std::path::Path::new(""));
        let mut batch = image.batch;
        batch.targets = vec![target];
        let predictions = predict_batch_in_place(&self.model, &batch)?;
        let prediction = predictions.first().context("the task predicted nothing")?;
        let target = batch.targets.first().context("an image without a target")?;
        Ok(LiveAnswer { prediction: prediction.in_file(target)?, was_prepared: asked.was_prepared })
    }

    fn check_categories(&self, prompts: &[ObjectPrompt]) -> Result<()> {
        let number = self.model.categories.len();
        match prompts.iter().filter_map(|prompt| prompt.category).find(|&index| index >= number) {
            None => Ok(()),
            Some(index) => Err(Error::data(format!(
                "a prompt has category {index}; the model has {number} categories, counted from 0"
            ))
            .into()),
        }
    }
}
