//! What a clip as a whole is, from the predictions of its frames.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use sonotune_base::Category;
use sonotune_engine::task::{Averaging, Prediction};

use super::outputs::{ImageName, category_name};

/// The scores of a clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClipScore {
    pub file_name: String,
    /// Frames with a prediction, which count alike.
    pub num_frames: usize,
    /// Categories that the clip has by `rule`.
    pub labels: Vec<String>,
    /// By category.
    pub scores: BTreeMap<String, f64>,
    /// How the scores of the frames became those of the clip.
    pub rule: String,
}

/// Predictions of the frames of each clip, if the task scores images and says how scores are averaged.
#[derive(Debug)]
pub(super) struct ClipScores {
    averaging: Option<Box<dyn Averaging>>,
    clips: Vec<(String, Vec<Prediction>)>,
}

impl ClipScores {
    pub(super) fn new(averaging: Option<Box<dyn Averaging>>) -> Self {
        Self { averaging, clips: Vec::new() }
    }

    /// Takes in the prediction of an image, which counts if it is a frame of a clip. The frames of a clip follow
    /// one another.
    pub(super) fn add(&mut self, image: ImageName<'_>, prediction: &Prediction) {
        if image.frame.is_none() || prediction.scores.is_empty() || self.averaging.is_none() {
            return;
        }
        if self.clips.last().is_none_or(|(file, _)| file != image.file) {
            self.clips.push((image.file.to_owned(), Vec::new()));
        }
        if let Some((_, predictions)) = self.clips.last_mut() {
            predictions.push(prediction.clone());
        }
    }

    /// The scores of each clip, in their order.
    ///
    /// # Errors
    /// If the predictions of a clip cannot be averaged; names it.
    pub(super) fn averaged(&self, categories: &[Category]) -> Result<Vec<ClipScore>> {
        let Some(averaging) = &self.averaging else { return Ok(Vec::new()) };
        let score = |(file, predictions): &(String, Vec<Prediction>)| {
            let average =
                averaging.average(predictions).with_context(|| format!("the clip {file}"))?;
            let names = (0..).map(|index| category_name(index, categories));
            let label = |&index: &usize| category_name(index, categories);
            Ok(ClipScore {
                file_name: file.clone(),
                num_frames: predictions.len(),
                labels: average.labels.iter().map(label).collect(),
                scores: names.zip(average.scores).collect(),
                rule: averaging.rule(),
            })
        };
        self.clips.iter().map(score).collect()
    }
}
