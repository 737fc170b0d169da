//! What a task plugin is: how to learn from a batch, how to predict one, how to score predictions.
//!
//! A plugin implements [`TaskConfig`] for its plain-data config (registered with typetag under its
//! `type`), [`Task`] for the model, and [`Evaluator`] for its metrics. The engine does the rest.

pub mod averaging;
pub mod instances;
pub mod parts;
mod step_output;
mod value_errors;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use anyhow::Result;
use tch::nn;

pub use averaging::Averaging;
pub use parts::{Meaning, Part, PartInput, PartOutput, Parts, PromptRules, Promptable, Refinement};
pub use step_output::{Loss, Over, Scalar, StepOutput};
pub use value_errors::ValueErrors;

use crate::{
    backbone::Backbone,
    batch::{Batch, Preparation, Target},
};
use sonotune_base::{Category, Error, ImageId, Rle, Size};
use sonotune_dataset::{Dataset, TargetNeeds};
use sonotune_metrics::{ImageScores, Metric, Report};

/// The `[task]` table of a config: plain data until [`build`](Self::build).
///
/// ```toml
/// [task]
/// type = "classification"   # the name given to #[typetag::serde(name = "…")]
/// ```
#[typetag::serde(tag = "type")]
pub trait TaskConfig: Debug + Send + Sync {
    /// Creates the variables of the task's head under `vs` and takes the backbone.
    ///
    /// Variable paths follow the upstream checkpoint's keys. `categories` are those of the
    /// training annotations, in the order of class indices.
    ///
    /// # Errors
    /// When the config does not fit the backbone or the categories.
    fn build(
        &self,
        vs: &nn::Path,
        backbone: Box<dyn Backbone>,
        categories: &[Category],
    ) -> Result<Box<dyn Task>>;

    /// How the task uses its weights, if it knows several ways; kept with checkpoints.
    fn convention(&self) -> Option<String> {
        None
    }

    /// Whether [`Task::predict`] answers the prompts of a target, or, if it has none, asks about
    /// its objects by the protocols of the key `evaluation.protocols`.
    fn takes_prompts(&self) -> bool {
        false
    }

    /// Names of the numbers per image that the task learns from. A split to train or evaluate on
    /// is refused on opening when an image lacks one of them.
    fn values(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the task learns from and is scored on. A split without any of it is refused before the
    /// first step, and reported by `sonotune data check`. `None`: not known; nothing is refused.
    fn learns_from(&self) -> Option<TargetNeeds> {
        None
    }

    /// Checks the labels of a split before the first step: what it refuses would end the run at some
    /// step or evaluation.
    ///
    /// # Errors
    /// If the task cannot use an image's annotation; names the image.
    fn check_labels(&self, dataset: &Dataset) -> Result<()> {
        let _ = dataset;
        Ok(())
    }

    /// Names of the metrics that the evaluator reports, so that an `evaluation.best_metric` that it
    /// does not report is refused with the config; `*` matches any run of characters, such as a
    /// category's name. `None`: known only once an evaluator has finished; a run then scores a batch
    /// before its first step to find out.
    fn metric_names(&self) -> Option<Vec<String>> {
        None
    }

    /// Score from which on an object is worth showing, if the task finds objects on its own: what
    /// `predict` writes and pictures show by default. Metrics cover all objects.
    fn min_score(&self) -> f64 {
        0.0
    }

    /// How several predictions of one image become one: those of an ensemble (`predict --ensemble`), or those
    /// of the image and its mirror image (`evaluation.flip`). `None`: this task cannot average predictions,
    /// and both are refused.
    fn averaging(&self) -> Option<Box<dyn Averaging>> {
        None
    }

    /// Options that pretrained weights decide if the config leaves them open, as `key` (within
    /// the `[task]` table) and TOML value. `convention` is the name of the weights' naming
    /// convention, or for a checkpoint of a run what [`convention`](Self::convention) gave there.
    /// The engine prints them and records them in the run's config.
    fn decided_by_weights(&self, convention: &str) -> Vec<(&'static str, String)> {
        let _ = convention;
        Vec::new()
    }
}

sonotune_config::schema_of_types!(dyn TaskConfig, "task");

/// A model for one task: backbone and head.
pub trait Task: Debug + Send {
    /// What the loader must prepare from each image's annotation for training.
    fn needs(&self) -> TargetNeeds;

    /// The same for evaluation and prediction, where [`Target::objects`] often serves better than
    /// masks in the frame of the network's input.
    fn eval_needs(&self) -> TargetNeeds {
        self.needs()
    }

    /// What is drawn and computed from a training batch's annotation before the step; `None`: nothing.
    fn preparation(&self) -> Option<Arc<dyn Preparation>> {
        None
    }

    /// Whether every training step has the same shapes if its images have: no tensor that a convolution
    /// takes is as large as, say, the number of objects. cuDNN then looks for its fastest algorithms at
    /// the first step; with other shapes it would do so again and again.
    fn has_fixed_shapes(&self) -> bool {
        false
    }

    /// Forward pass and losses of one training batch. The engine sums `weight · value`, checks,
    /// differentiates and logs.
    ///
    /// Names of losses and scalars must be the same for every batch: with several processes, the engine
    /// combines values of the same name.
    ///
    /// # Errors
    /// If the batch cannot be used for training; names the image.
    fn train_step(&self, batch: &Batch) -> Result<StepOutput>;

    /// Predictions of a batch, one per image and in its order, in original pixels. Called without
    /// gradients; serves evaluation and the `predict` verb alike.
    ///
    /// # Errors
    /// When the model cannot predict this batch.
    fn predict(&self, batch: &Batch) -> Result<Vec<Prediction>>;

    /// What it predicts, as functions of tensors that an export can record, for one normalised and padded image
    /// of the size `input`. By default there are none, and an export is refused.
    ///
    /// # Errors
    /// If the task, with these options, cannot be expressed; says why.
    fn parts(&self, input: Size) -> Result<Parts<'_>> {
        let _ = input;
        Err(Error::config("this task does not say how it can be exported: it lacks `Task::parts`")
            .into())
    }

    /// A fresh evaluator of this task's metrics.
    ///
    /// # Errors
    /// When there is nothing that could be scored.
    fn evaluator(&self) -> Result<Box<dyn Evaluator>>;
}

/// What a model predicts for one image. A task fills in the parts it predicts.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub image_id: ImageId,
    /// Frame of everything spatial here.
    pub original_size: Size,
    /// Image level: one score in [0, 1] per category; empty if the task gives none.
    pub scores: Vec<f64>,
    /// Image level: predicted category indices (one, or several when multi-label).
    pub labels: Vec<usize>,
    /// Object level, by descending score; empty if the task gives none.
    pub instances: Vec<Instance>,
    /// Image level: numbers by name, the same names for every image; empty if the task gives none.
    pub values: BTreeMap<String, f64>,
}

impl Prediction {
    /// An empty prediction for the image of `target`, to fill in:
    /// `Prediction { scores, ..Prediction::of(t) }`.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        Self {
            image_id: target.image_id.clone(),
            original_size: target.original_size,
            scores: Vec::new(),
            labels: Vec::new(),
            instances: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    /// Whether it is about the image as a whole, not about objects in it.
    #[must_use]
    pub fn is_of_image(&self) -> bool {
        !self.scores.is_empty() || !self.values.is_empty()
    }

    /// Leaves out objects below a score, but keeps answers to prompts.
    pub fn keep_from(&mut self, min_score: f64) {
        self.instances.retain(|i| i.answers.is_some() || i.score >= min_score);
    }
}

/// One predicted object.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Index into the categories.
    pub category: usize,
    pub score: f64,
    /// XYXY, original pixels.
    pub bbox: [f64; 4],
    /// Original pixels.
    pub mask: Option<Rle>,
    /// The question it answers, if the task was asked about single objects.
    pub answers: Option<Answer>,
}

/// Which question an instance answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Answer {
    /// Index into [`Target::objects`], or into the prompts given.
    pub object: usize,
    /// A task may ask about each object several times (by its centre, by its box, after each
    /// click); the order is the task's.
    pub pass: usize,
}

/// Accumulates predictions of a split and turns them into a [`Report`].
pub trait Evaluator: Debug + Send {
    /// Adds one image.
    ///
    /// # Errors
    /// When prediction and target do not fit each other.
    fn add(&mut self, prediction: &Prediction, target: &Target) -> Result<()>;

    /// How well the image added last was predicted, by one number: the higher the better (an error
    /// with its sign turned). A report shows the best and the worst. `None`: this image has no such
    /// number, or the task does not rank images.
    fn image_score(&self) -> Option<Metric> {
        None
    }

    /// What is known of one image's prediction, for statistics over images (`sonotune eval` writes it as a
    /// table); called for images that were added. By default nothing.
    ///
    /// # Errors
    /// When prediction and target do not fit each other.
    fn image_scores(&self, prediction: &Prediction, target: &Target) -> Result<ImageScores> {
        let _ = (prediction, target);
        Ok(ImageScores::default())
    }

    /// Computes the metrics of all images added.
    ///
    /// # Errors
    /// If no image was added.
    fn finish(&mut self) -> Result<Report>;
}
