//! An image as the network saw it, with the prediction and the ground truth.

use std::path::PathBuf;

use anyhow::Result;
use image::RgbImage;

use super::model::Model;
use crate::logging::pictures;
use sonotune_base::Category;
use sonotune_dataset::{InputSpec, Record};
use sonotune_engine::{
    batch::{Batch, Target},
    loader::{LoadPlan, prepare_batch},
    task::Prediction,
};
use sonotune_report::ranking::SIDE;

/// What pictures need to know about a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Legend<'a> {
    categories: &'a [Category],
    min_score: f64,
    input: &'a InputSpec,
}

impl<'a> Legend<'a> {
    pub(super) fn of(model: &'a Model<'a>) -> Self {
        let min_score = model.config.task.min_score();
        Self { categories: &model.categories, min_score, input: &model.spec.input }
    }

    /// The input at an index of a batch. If the batch holds features, or another process had it, it is
    /// decoded from its record, `record`.
    pub(super) fn input(
        self,
        plan: &LoadPlan,
        batch: Option<(&Batch, usize)>,
        record: &[Record],
    ) -> Result<RgbImage> {
        if let Some((batch, index)) = batch
            && batch.features.is_none()
        {
            let size = batch.targets[index].input_size;
            return pictures::denormalise(&batch.image(index), size, self.input);
        }
        let pixels = LoadPlan { embeddings: None, ..plan.clone() };
        let batch = prepare_batch(record, &pixels)?;
        pictures::denormalise(&batch.image(0), batch.targets[0].input_size, self.input)
    }
}

/// What is drawn on an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawing<'a> {
    pub(super) legend: Legend<'a>,
    pub(super) target: &'a Target,
    pub(super) prediction: &'a Prediction,
}

impl Drawing<'_> {
    /// For TensorBoard: with text below the image.
    pub(super) fn large(&self, image: &RgbImage) -> RgbImage {
        let categories = self.legend.categories;
        if !self.prediction.scores.is_empty() && self.prediction.values.is_empty() {
            let truth = Some(self.target.image_labels.as_slice());
            return pictures::prediction(image, self.prediction, truth, categories);
        }
        let mut shown = self.prediction.clone();
        shown.keep_from(self.legend.min_score);
        pictures::answers(image, &shown, self.target, categories)
    }

    /// For a report: the image file, one line each on prediction and truth, and a picture of at most
    /// [`SIDE`] pixels. With several questions about an object, the answer to the first is drawn.
    pub(super) fn small(&self, image: &RgbImage) -> (PathBuf, Vec<String>, RgbImage) {
        let mut shown = self.prediction.clone();
        shown.keep_from(self.legend.min_score);
        shown.instances.retain(|instance| instance.answers.is_none_or(|answer| answer.pass == 0));
        let mut lines = Vec::new();
        if !shown.scores.is_empty() {
            lines.extend(self.labels());
        }
        for (name, value) in &shown.values {
            lines.push(format!("predicted {name}: {value:.4}"));
            lines.extend(
                self.target.values.get(name).map(|truth| format!("true {name}: {truth:.4}")),
            );
        }
        let annotated = self.target.objects.iter().filter(|object| !object.is_crowd).count();
        if lines.is_empty() {
            let found = shown.instances.len();
            lines.push(format!("{found} predicted, {annotated} annotated"));
        }
        // What is beside the picture need not be in it.
        shown.scores.clear();
        shown.values.clear();
        let image = sonotune_draw::fit(image, SIDE);
        let picture = pictures::answers(&image, &shown, self.target, self.legend.categories);
        (self.target.path.clone(), lines, picture)
    }

    fn labels(&self) -> Vec<String> {
        let Prediction { scores, labels, .. } = self.prediction;
        let name = |index: usize| {
            self.legend
                .categories
                .get(index)
                .map_or_else(|| format!("#{index}"), |c| c.name.clone())
        };
        let scored = |&label: &usize| match scores.get(label) {
            Some(score) => format!("{} {score:.2}", name(label)),
            None => name(label),
        };
        let joined = |words: Vec<String>| {
            if words.is_empty() { "none".to_owned() } else { words.join(", ") }
        };
        let truth =
            self.target.image_labels.iter().filter_map(|&label| usize::try_from(label).ok());
        vec![
            format!("predicted: {}", joined(labels.iter().map(scored).collect())),
            format!("truth: {}", joined(truth.map(name).collect())),
        ]
    }
}
