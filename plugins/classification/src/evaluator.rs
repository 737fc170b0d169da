//! Turns predictions into the figures of a paper's table.

use sonotune_engine::{
    metrics::classification::{ClassMetrics, Classifications, macro_mean, mean_defined},
    prelude::*,
    task::instances::percent,
};

use crate::{labels::labels_of_target, notes::notes};

/// Means over categories and images, then figures of each category.
const SINGLE: [&str; 5] = ["precision", "recall", "f1", "accuracy", "auroc"];
const MULTI: [&str; 7] = ["precision", "recall", "f1", "f1_micro", "map", "exact_match", "auroc"];
const PER_CLASS: [&str; 4] = ["precision", "recall", "f1", "auroc"];

/// Names of all metrics, `*` for a category.
pub(crate) fn metric_names(multi_label: bool) -> Vec<String> {
    let means: &[&str] = if multi_label { &MULTI } else { &SINGLE };
    let per_class = PER_CLASS.map(|figure| format!("per_class/*/{figure}"));
    means.iter().map(|&name| name.to_owned()).chain(per_class).collect()
}

/// Scores image-level predictions.
///
/// Metrics are fractions; `precision`, `recall` and `f1` are means over all categories, where those
/// without images count as 0 (their own figures are undefined); `auroc` (one against the rest) and `map`
/// are means over the categories for which they are defined, NaN if there are none.
#[derive(Debug)]
pub(crate) struct ClassificationEvaluator {
    category_names: Vec<String>,
    multi_label: bool,
    threshold: Option<f64>,
    images: Classifications,
    last_score: Option<Metric>,
}

impl ClassificationEvaluator {
    /// `threshold`: the minimum score of a predicted category, if an image may have any number of
    /// categories.
    pub(crate) fn new(category_names: Vec<String>, threshold: Option<f64>) -> Self {
        let images = Classifications::new(category_names.len());
        let multi_label = threshold.is_some();
        Self { category_names, multi_label, threshold, images, last_score: None }
    }

    fn metrics(&self, classes: &[ClassMetrics]) -> Vec<Metric> {
        let mean = macro_mean(classes);
        let auroc = mean_defined(classes.iter().map(|c| c.auroc));
        let named = |names: &[&str], values: &[f64]| -> Vec<Metric> {
            names.iter().zip(values).map(|(&name, &value)| Metric::highest(name, value)).collect()
        };
        let accuracy = self.images.accuracy();
        let means = [mean.precision, mean.recall, mean.f1];
        let mut metrics = if self.multi_label {
            let map = mean_defined(classes.iter().map(|c| c.average_precision));
            let rest = [self.images.micro().f1, map, accuracy, auroc];
            named(&MULTI, &[&means[..], &rest].concat())
        } else {
            named(&SINGLE, &[&means[..], &[accuracy, auroc]].concat())
        };
        for (name, class) in self.category_names.iter().zip(classes) {
            let values = figures(class);
            metrics.extend(PER_CLASS.iter().zip(values).map(|(figure, value)| {
                Metric::highest(format!("per_class/{name}/{figure}"), value)
            }));
        }
        metrics
    }

    fn per_class_table(&self, classes: &[ClassMetrics]) -> Table {
        let cells = |name: &str, values: [f64; 4], images: u64| {
            let values = values.map(percent).into_iter();
            std::iter::once(name.to_owned()).chain(values).chain([images.to_string()]).collect()
        };
        let mut rows: Vec<Vec<String>> = self
            .category_names
            .iter()
            .zip(classes)
            .map(|(name, c)| cells(name, figures(c), c.support()))
            .collect();
        let mean = macro_mean(classes);
        let auroc = mean_defined(classes.iter().map(|c| c.auroc));
        let images = self.images.len() as u64;
        rows.push(cells("mean", [mean.precision, mean.recall, mean.f1, auroc], images));
        let header = ["category", "precision %", "recall %", "F1 %", "AUROC %", "images"];
        Table { title: "Per category".to_owned(), header: header.map(str::to_owned).to_vec(), rows }
    }

    fn confusion_table(&self, counts: &[Vec<u64>]) -> Table {
        let corner = std::iter::once("truth \\ predicted".to_owned());
        let row = |(name, counts): (&String, &Vec<u64>)| {
            std::iter::once(name.clone()).chain(counts.iter().map(u64::to_string)).collect()
        };
        Table {
            title: "Confusion matrix".to_owned(),
            header: corner.chain(self.category_names.iter().cloned()).collect(),
            rows: self.category_names.iter().zip(counts).map(row).collect(),
        }
    }
}

impl Evaluator for ClassificationEvaluator {
    fn add(&mut self, prediction: &Prediction, target: &Target) -> Result<()> {
        let truth = labels_of_target(target, &self.category_names, self.multi_label)?;
        self.last_score = image_score(&truth, &prediction.scores, self.multi_label);
        self.images.add(&truth, &prediction.labels, &prediction.scores)
    }

    fn image_score(&self) -> Option<Metric> {
        self.last_score.clone()
    }

    /// The true and the predicted categories by name (several joined by `|`), whether they are the same, and
    /// the score of each category as `p:NAME`.
    fn image_scores(&self, prediction: &Prediction, target: &Target) -> Result<ImageScores> {
        let truth = labels_of_target(target, &self.category_names, self.multi_label)?;
        let names = |labels: &[usize]| {
            let names = labels.iter().filter_map(|&label| self.category_names.get(label));
            names.map(String::as_str).collect::<Vec<_>>().join("|")
        };
        let (label, predicted) = (names(&truth), names(&prediction.labels));
        let correct = f64::from(label == predicted);
        let scores = self.category_names.iter().zip(&prediction.scores);
        let scores = scores.map(|(name, &score)| Metric::new(format!("p:{name}"), score));
        Ok(ImageScores {
            metrics: std::iter::once(Metric::highest("correct", correct)).chain(scores).collect(),
            words: vec![("label".to_owned(), label), ("predicted".to_owned(), predicted)],
        })
    }

    fn finish(&mut self) -> Result<Report> {
        if self.images.is_empty() {
            return Err(Error::data("there is no image to score the model on").into());
        }
        let classes = self.images.per_class();
        let mut report = Report {
            metrics: self.metrics(&classes),
            tables: vec![self.per_class_table(&classes)],
            notes: notes(&self.images, &self.category_names, &classes, self.multi_label),
            ..Report::default()
        };
        if let Some(threshold) = self.threshold {
            report.conditions.push(("multi_label_threshold".to_owned(), threshold.to_string()));
        }
        if !self.multi_label {
            let counts = self.images.confusion_matrix();
            report.tables.push(self.confusion_table(&counts));
            report.confusion = Some(Confusion { names: self.category_names.clone(), counts });
        }
        Ok(report)
    }
}

/// Figures of a category, in the order of [`PER_CLASS`]. Without images of it there is nothing to recall;
/// if it was not predicted either, it was not tried at all.
fn figures(class: &ClassMetrics) -> [f64; 4] {
    let ClassMetrics { precision, recall, f1, auroc, false_positives, .. } = *class;
    match (class.support(), false_positives) {
        (0, 0) => [f64::NAN, f64::NAN, f64::NAN, auroc],
        (0, _) => [precision, f64::NAN, f64::NAN, auroc],
        _ => [precision, recall, f1, auroc],
    }
}

/// The score of the true category; with several categories, the mean of the score where the category is
/// present and of one minus it for those that are absent.
fn image_score(truth: &[usize], scores: &[f64], multi_label: bool) -> Option<Metric> {
    if multi_label {
        let right =
            |(i, score): (usize, &f64)| if truth.contains(&i) { *score } else { 1.0 - score };
        let sum: f64 = scores.iter().enumerate().map(right).sum();
        return Some(Metric::new("mean score of what is true", sum / scores.len() as f64));
    }
    Some(Metric::new("score of the true category", *scores.get(*truth.first()?)?))
}
