//! Figures of the promptable models, with intervals over test images.

use anyhow::{Context, Result};
use serde::Serialize;
use sonotune_base::Error;
use sonotune_dataset::Split;
use sonotune_metrics::classification::mean_defined;
use sonotune_run_folder::{EvalRecord, RunFiles};
use sonotune_statistics::{
    Clusters,
    bootstrap::{self, Options},
    scores::{Scores, align},
};

use crate::folder::DemoFolder;

/// The kinds of prompts, as they appear in metrics and on the page.
pub(crate) const PROMPTS: [(&str, &str); 2] = [("box", "box"), ("center_point", "click")];

/// A figure that is a mean over test images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// `box` or `click`.
    pub(crate) prompt: String,
    pub(crate) name: String,
    /// Mean over images and seeds.
    pub(crate) value: f64,
    /// At 95 %; absent if it is undefined.
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) num_images: usize,
}

impl Figure {
    /// `0.882 [0.871, 0.893]`.
    pub(crate) fn text(&self) -> String {
        let interval =
            self.interval.map_or(String::new(), |[low, high]| format!(" [{low:.3}, {high:.3}]"));
        format!("{:.3}{interval}", self.value)
    }
}

/// Dice and IoU of the masks from boxes and from clicks.
///
/// # Errors
/// If a run has no scores.
pub(crate) fn prompted(folder: &DemoFolder, seeds: u64) -> Result<Vec<Figure>> {
    let tables: Vec<Scores> = (0..seeds)
        .map(|seed| Scores::read(&RunFiles::of(&folder.pretrained(seed)).image_scores(Split::Test)))
        .collect::<Result<_>>()?;
    let names: Vec<String> = (0..seeds).map(|seed| format!("seed {seed}")).collect();
    let named: Vec<(&str, &Scores)> = names.iter().map(String::as_str).zip(&tables).collect();
    let tables = align(&named)?;
    let first = tables.first().context("no seed")?;
    let clusters = Clusters::new(&first.patients());
    let mut figures = Vec::new();
    for (protocol, prompt) in PROMPTS {
        for (column, name) in [("dice", "Dice"), ("mIoU", "IoU")] {
            let by_seed: Vec<Vec<f64>> = tables
                .iter()
                .map(|table| table.column(&format!("{protocol}/{column}")))
                .collect::<Result<_>>()?;
            let values: Vec<f64> = (0..first.rows.len())
                .map(|row| mean_defined(by_seed.iter().map(|seed| seed[row])))
                .collect();
            figures.push(figure(prompt, name, &values, &clusters)?);
        }
    }
    Ok(figures)
}

fn figure(prompt: &str, name: &str, values: &[f64], clusters: &Clusters) -> Result<Figure> {
    let options = Options { resamples: 2000, ..Options::default() };
    let explained = |error: sonotune_statistics::Error| Error::from(error);
    let distributions = bootstrap::means(&[values], clusters, &options).map_err(explained)?;
    let distribution = distributions.first().context("no distribution")?;
    let estimate = distribution.estimate(&options).map_err(explained)?;
    let interval = estimate.interval.ok().map(|interval| interval.within(0.0, 1.0));
    Ok(Figure {
        prompt: prompt.to_owned(),
        name: name.to_owned(),
        value: estimate.value,
        interval: interval.map(|interval| [interval.low, interval.high]),
        num_images: values.len(),
    })
}

/// The scores of a run on its test split.
///
/// # Errors
/// If it has none.
pub(crate) fn record(run: &std::path::Path) -> Result<EvalRecord> {
    let path = RunFiles::of(run).scores(Split::Test);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a record", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_mean_with_its_interval() {
        let values: Vec<f64> = (0..40).map(|i| 0.5 + f64::from(i % 5) / 20.0).collect();
        let figure = figure("box", "Dice", &values, &Clusters::singletons(40)).unwrap();
        let [low, high] = figure.interval.unwrap();
        assert!(low < 0.6 && 0.6 < high && high - low < 0.1, "{figure:?}");
        assert!(figure.text().starts_with("0.600 [0.5"), "{}", figure.text());
        let constant = super::figure("box", "Dice", &[1.0; 9], &Clusters::singletons(9)).unwrap();
        assert_eq!(constant.text(), "1.000");
    }
}
