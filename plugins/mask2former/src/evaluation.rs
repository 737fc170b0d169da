//! Scores instances against annotations: the COCO metric on boxes and on masks.

use sonotune_engine::{
    prelude::*,
    task::instances::{Annotated, Counts, InstanceScorer, panoptic_quality},
};

/// `[task.evaluation]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Maximum number of predicted instances per image, over all queries and categories.
    pub max_per_image: i64,
}

impl Default for EvaluationConfig {
    /// The reference's limit.
    fn default() -> Self {
        Self { max_per_image: 100 }
    }
}

impl EvaluationConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_per_image > 0 {
            return Ok(());
        }
        Err(Error::config(format!(
            "task.evaluation.max_per_image = {}: expected at least 1",
            self.max_per_image
        ))
        .into())
    }
}

/// Scores boxes and masks of a split.
#[derive(Debug)]
pub(crate) struct InstanceEvaluator {
    categories: Vec<String>,
    config: EvaluationConfig,
    scorer: InstanceScorer,
    counts: Counts,
    /// Minimum score of an instance that counts in the score of an image.
    min_score: f64,
    last_quality: Option<f64>,
}

impl InstanceEvaluator {
    pub(crate) fn new(
        categories: Vec<String>,
        config: EvaluationConfig,
        min_score: f64,
    ) -> Result<Self> {
        let scorer = InstanceScorer::new(categories.len(), false)?;
        let counts = Counts::default();
        Ok(Self { categories, config, scorer, counts, min_score, last_quality: None })
    }
}

impl Evaluator for InstanceEvaluator {
    fn add(&mut self, prediction: &Prediction, target: &Target) -> Result<()> {
        let image = Annotated::of(target)?;
        self.counts.add(&image);
        let shown = prediction.instances.iter().filter(|i| i.score >= self.min_score);
        self.last_quality = panoptic_quality(&image, shown)?;
        self.scorer.add(&image, &prediction.instances)
    }

    fn image_score(&self) -> Option<Metric> {
        self.last_quality.map(|quality| Metric::new("panoptic quality", quality))
    }

    fn finish(&mut self) -> Result<Report> {
        if self.counts.objects == 0 {
            return Err(Error::data("there is no object to score the model on").into());
        }
        let scores = self.scorer.finish()?;
        let mut metrics = scores.metrics();
        metrics.extend(scores.per_class(&self.categories));
        let counts = std::mem::take(&mut self.counts);
        let conditions = [
            ("max_per_image", self.config.max_per_image.to_string()),
            ("max_dets", "mAP 100, others 1000".to_owned()),
            ("images", counts.images.to_string()),
            ("images_without_objects", counts.images_without_objects.to_string()),
            ("objects", counts.objects.to_string()),
            ("crowds", counts.crowds.to_string()),
            ("objects_without_pixels", counts.objects_without_pixels.to_string()),
        ];
        Ok(Report {
            metrics,
            tables: vec![scores.by_category(&self.categories)],
            conditions: conditions.map(|(name, value)| (name.to_owned(), value)).into(),
            confusion: None,
        })
    }
}
