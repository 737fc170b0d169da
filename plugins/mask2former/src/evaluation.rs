//! Scores instances against annotations: the COCO metric on boxes and on masks.

use sonotune_engine::{
    prelude::*,
    task::instances::{
        Annotated, Answers, Counts, InstanceScorer, not_scored, nothing_found, panoptic_quality,
        scored_kinds,
    },
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
    answers: Answers,
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
        let (counts, answers) = (Counts::default(), Answers::default());
        Ok(Self { categories, config, scorer, counts, answers, min_score, last_quality: None })
    }
}

impl Evaluator for InstanceEvaluator {
    fn add(&mut self, prediction: &Prediction, target: &Target) -> Result<()> {
        let image = Annotated::of(target)?;
        self.counts.add(&image);
        self.answers.add(&prediction.instances, self.min_score);
        let shown = prediction.instances.iter().filter(|i| i.score >= self.min_score);
        // Its masks are not to be compared with boxes.
        let has_masks = target.objects.iter().all(|o| !o.is_box_only());
        self.last_quality = panoptic_quality(&image, shown)?.filter(|_| has_masks);
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
        let counts = std::mem::take(&mut self.counts);
        let kinds = scored_kinds(counts.has_masks());
        let mut metrics = scores.metrics(kinds);
        metrics.extend(scores.per_class(&self.categories, kinds));
        let mut notes = not_scored(&counts, &scores, &self.categories);
        notes.extend(nothing_found(&counts, &scores));
        notes.extend(std::mem::take(&mut self.answers).notes(self.min_score));
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
            tables: vec![scores.by_category(&self.categories, kinds)],
            notes,
            conditions: conditions.map(|(name, value)| (name.to_owned(), value)).into(),
            confusion: None,
        })
    }
}
