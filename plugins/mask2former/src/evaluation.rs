//! Scores instances against annotations: the COCO metric on boxes and on masks.

use sonotune_engine::{
    metrics::overlap::overlap_in_both,
    prelude::*,
    task::instances::{
        Annotated, Answers, Counts, InstanceScorer, not_scored, nothing_found, panoptic_quality,
        scored_kinds,
    },
};

/// `[task.evaluation]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", deny_unknown_fields, default)]
#[schemars(crate = "sonotune_engine::schemars")]
pub struct EvaluationConfig {
    /// Maximum number of predicted instances per image.
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

    /// Panoptic quality, and the overlap of everything found with everything annotated, as in semantic
    /// segmentation (crowds count as background): `foreground_iou`, `foreground_dice`, `foreground_hd95` and
    /// `foreground_assd` in pixels, and `foreground_hd95_mm` and `foreground_assd_mm` if the size of a pixel is known.
    fn image_scores(&self, prediction: &Prediction, target: &Target) -> Result<ImageScores> {
        let image = Annotated::of(target)?;
        let shown = || prediction.instances.iter().filter(|i| i.score >= self.min_score);
        let quality = panoptic_quality(&image, shown())?;
        let size = (target.original_size.0.try_into()?, target.original_size.1.try_into()?);
        let all = |masks: Vec<Rle>| match masks.is_empty() {
            true => Rle::new(size.0, size.1, vec![size.0 * size.1]),
            false => Rle::union(&masks),
        };
        let found = all(shown().filter_map(|i| i.mask.clone()).collect())?;
        let objects =
            target.objects.iter().zip(image.masks()).filter(|(object, _)| !object.is_crowd);
        let truth = all(objects.map(|(_, mask)| mask.clone()).collect())?;
        let (overlap, in_mm) = overlap_in_both(&found, &truth, target.spacing)?;
        let or_nan = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let mut metrics = vec![
            Metric::highest("panoptic_quality", or_nan(quality)),
            Metric::highest("foreground_iou", or_nan(overlap.iou)),
            Metric::highest("foreground_dice", or_nan(overlap.dice)),
            Metric::lowest("foreground_hd95", or_nan(overlap.hd95)),
            Metric::lowest("foreground_assd", or_nan(overlap.assd)),
        ];
        if let Some(in_mm) = in_mm {
            metrics.extend([
                Metric::lowest("foreground_hd95_mm", or_nan(in_mm.hd95)),
                Metric::lowest("foreground_assd_mm", or_nan(in_mm.assd)),
            ]);
        }
        Ok(ImageScores { metrics, ..ImageScores::default() })
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
