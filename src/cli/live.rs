//! A model as servers know it: by their trait.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use sonotune_run::{Live, LiveAnswer, LiveImage};
use sonotune_serve::{About, Answer, Found, Image, Inference, Question};

use crate::ModelArgs;

/// One model: that of a run, or the pretrained weights of a config.
#[derive(Debug, Args)]
pub(crate) struct LiveArgs {
    /// Folder of the run whose model to use.
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "config")]
    run: Option<PathBuf>,
    /// Config whose pretrained weights to use as they are, without training.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// `best`, `last`, a step whose checkpoint was kept, or a file. Default: the best if there is
    /// one, else the last.
    #[arg(long, value_name = "WHICH", requires = "run")]
    checkpoint: Option<String>,
}

impl LiveArgs {
    /// Whether a model is named.
    pub(crate) fn names_one(&self) -> bool {
        self.run.is_some() || self.config.is_some()
    }
}

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
    pub(crate) fn open(args: &LiveArgs, overrides: &[String]) -> Result<Self> {
        let LiveArgs { run, config, checkpoint } = args;
        let model = ModelArgs {
            run: run.clone(),
            ensemble: Vec::new(),
            config: config.clone(),
            checkpoint: checkpoint.clone(),
        };
        let (loaded, source) = model.load(overrides, sonotune_run::config::load_for_prediction)?;
        let name = args.run.as_ref().or(args.config.as_ref()).and_then(|path| path.file_stem());
        let name = name.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into());
        let live = Live::open(loaded, source)?;
        let (is_of_image, has_masks) = About::kinds(live.about().learns_from);
        let of_model = live.about();
        let about = About {
            name,
            task: of_model.task.clone(),
            backbone: of_model.backbone.clone(),
            takes_prompts: of_model.takes_prompts,
            is_of_image,
            has_masks,
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
