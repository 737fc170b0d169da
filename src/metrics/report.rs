//! What an evaluation reports: named numbers, tables, a confusion matrix.

use super::Direction;

/// Metrics of one evaluation.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// In the order to print; appear as `val/<name>`.
    pub metrics: Vec<Metric>,
    /// For people: per class, confusion matrix.
    pub tables: Vec<Table>,
    /// What the figures depend on besides weights and data: protocol, options, counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<(String, String)>,
    /// What a reader must know to take the figures for what they are, one sentence each: what was not
    /// scored, and predictions that tell nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// For a heat map, if the task assigns categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
}

/// How often each category was predicted as each.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Confusion {
    /// Names of the categories, in the order of both axes.
    pub names: Vec<String>,
    /// `[truth][predicted]`.
    pub counts: Vec<Vec<u64>>,
}

impl Report {
    /// The metric of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|m| m.name == name)
    }

    /// The metrics to print on one line: those outside any group (`group/name`); if all are in groups,
    /// the first of each. Tables show the others.
    #[must_use]
    pub fn headline(&self) -> Vec<&Metric> {
        let group =
            |metric: &Metric| metric.name.rsplit_once('/').map(|(group, _)| group.to_owned());
        let ungrouped: Vec<_> = self.metrics.iter().filter(|m| group(m).is_none()).collect();
        if !ungrouped.is_empty() {
            return ungrouped;
        }
        let is_first = |i: usize| i == 0 || group(&self.metrics[i]) != group(&self.metrics[i - 1]);
        (0..self.metrics.len()).filter(|&i| is_first(i)).map(|i| &self.metrics[i]).collect()
    }
}

/// One number that a model is judged by.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Metric {
    /// E.g. `f1`, `per_class/benign/recall`.
    pub name: String,
    /// NaN where the metric is undefined (stated in its docs); written as `null` in JSON.
    #[serde(deserialize_with = "null_as_nan")]
    pub value: f64,
    /// Which way it improves; `None` if it is neither good nor bad, and in records of earlier
    /// versions.
    #[serde(default, rename = "best_is", skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
}

impl Metric {
    /// A number that is neither good nor bad, such as a count.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), value, direction: None }
    }

    /// A metric that improves upwards, such as a share of right answers.
    pub fn highest(name: impl Into<String>, value: f64) -> Self {
        Self { direction: Some(Direction::Highest), ..Self::new(name, value) }
    }

    /// A metric that improves downwards, such as an error or a distance.
    pub fn lowest(name: impl Into<String>, value: f64) -> Self {
        Self { direction: Some(Direction::Lowest), ..Self::new(name, value) }
    }
}

fn null_as_nan<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(|v: Option<f64>| v.unwrap_or(f64::NAN))
}

/// What is known of the prediction for one image, for statistics over images.
#[derive(Debug, Clone, Default)]
pub struct ImageScores {
    /// NaN where undefined. Names that an image lacks, such as those in millimetres if the size of its pixel is
    /// unknown, are added as NaN by [`align`](Self::align).
    pub metrics: Vec<Metric>,
    /// Words by name, the same names for every image, such as the true category's.
    pub words: Vec<(String, String)>,
}

impl ImageScores {
    /// Gives all images of a split the same names in the same order; what an image lacks is NaN.
    pub fn align<'a>(all: impl IntoIterator<Item = &'a mut Self>) {
        let all: Vec<&mut Self> = all.into_iter().collect();
        // The image with the most names has all of them, and their order.
        let Some(fullest) = all.iter().max_by_key(|scores| scores.metrics.len()) else { return };
        let mut names = fullest.metrics.clone();
        for metric in all.iter().flat_map(|scores| &scores.metrics) {
            if names.iter().all(|known| known.name != metric.name) {
                names.push(metric.clone());
            }
        }
        for scores in all {
            let own = std::mem::take(&mut scores.metrics);
            let value = |name: &Metric| {
                own.iter().find(|metric| metric.name == name.name).map_or(f64::NAN, |m| m.value)
            };
            let aligned = names.iter().map(|name| Metric { value: value(name), ..name.clone() });
            scores.metrics = aligned.collect();
        }
    }
}

/// A titled table of text cells.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Table {
    pub title: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_get_the_names_that_others_have() {
        let scores = |values: &[(&str, f64)]| ImageScores {
            metrics: values.iter().map(|(name, value)| Metric::lowest(*name, *value)).collect(),
            words: Vec::new(),
        };
        let mut all = [
            scores(&[("hd95", 3.0)]),
            scores(&[("hd95", 4.0), ("hd95_mm", 0.4), ("dice", 1.0)]),
            scores(&[]),
        ];
        ImageScores::align(&mut all);
        for (scores, expected) in all.iter().zip(["3 NaN NaN", "4 0.4 1", "NaN NaN NaN"]) {
            let names: Vec<_> = scores.metrics.iter().map(|m| m.name.as_str()).collect();
            assert_eq!(names, ["hd95", "hd95_mm", "dice"]);
            let values: Vec<_> = scores.metrics.iter().map(|m| m.value.to_string()).collect();
            assert_eq!(values.join(" "), expected);
        }
        ImageScores::align([]);
    }
}
