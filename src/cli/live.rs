//! A model as servers know it: by their trait.

use anyhow::Result;
use sonotune_dataset::TargetNeeds;
use sonotune_run::{Live, LiveAnswer, LiveImage};
use sonotune_serve::{About, Answer, Found, Image, Inference, Question};

use crate::{OneModelArgs, progress::Busy};

/// The model of a run or of pretrained weights, ready to answer.
#[derive(Debug)]
pub(crate) struct LiveModel {
    live: Live,
    about: About,
}

impl LiveModel {
    /// Opens it.
    ///
    /// # Errors
    /// Of kind config, data or weights.
    pub(crate) fn open(args: &OneModelArgs, overrides: &[String]) -> Result<Self> {
        let (loaded, source) = args.load(overrides)?;
        let name = args.run.as_ref().or(args.config.as_ref()).and_then(|path| path.file_stem());
        let name = name.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into());
        let busy = Busy::new("reading the model");
        let live = Live::open(loaded, source)?;
        drop(busy);
        let of_model = live.about();
        let about = About {
            name,
            task: of_model.task.clone(),
            backbone: of_model.backbone.clone(),
            takes_prompts: of_model.takes_prompts,
            is_of_image: of_model.learns_from == Some(TargetNeeds::ImageLabels),
            has_masks: of_model.learns_from == Some(TargetNeeds::Masks),
            categories: of_model.categories.clone(),
            min_score: of_model.min_score,
            weights: of_model.weights.clone(),
            step: of_model.step,
            device: of_model.device.clone(),
        };
        Ok(Self { live, about })
    }

    /// What is worth knowing before the first question, one sentence each.
    pub(crate) fn notes(&self) -> &[String] {
        &self.live.about().notes
    }
}

impl Inference for LiveModel {
    fn about(&self) -> &About {
        &self.about
    }

    fn answer(&self, image: &Image, question: &Question) -> Result<Answer> {
        let prompts = match question {
            Question::Prompts(prompts) => Some(prompts.clone()),
            Question::Unasked => None,
        };
        let LiveAnswer { prediction, was_prepared } =
            self.live.answer(&of_model(image), prompts)?;
        let (height, width) = prediction.original_size;
        let found = prediction.instances.into_iter().map(|instance| Found {
            category: instance.category,
            score: instance.score,
            bbox: instance.bbox,
            mask: instance.mask,
        });
        Ok(Answer {
            size: (u32::try_from(height)?, u32::try_from(width)?),
            objects: found.collect(),
            scores: prediction.scores,
            labels: prediction.labels,
            values: prediction.values.into_iter().collect(),
            was_prepared,
        })
    }

    fn prepare(&self, image: &Image) {
        self.live.prepare(&of_model(image));
    }
}

fn of_model(image: &Image) -> LiveImage {
    LiveImage { file: image.file.clone(), version: image.version.clone() }
}
