//! The demo's tables, over the seeds: the promptable models, and the fine-tuned models with both kinds
//! of start.

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::sonotune::{Start, Task};

/// The metric that decides the verdict.
fn primary(task: Task) -> &'static str {
    match task {
        // Macro, of all classes.
        Task::Classification => "f1",
        Task::Mask2Former => "segm_mAP_50",
    }
}

/// Test metrics of one run, in the order of its report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    pub(super) start: Start,
    pub(super) seed: u64,
    pub(super) metrics: Vec<(String, f64)>,
}

impl Score {
    fn get(&self, metric: &str) -> Option<f64> {
        self.metrics.iter().find(|(name, _)| name == metric).map(|(_, value)| *value)
    }
}

/// All that the demo measures.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) prompted: PromptedResults,
    pub(super) compared: Vec<ComparedResults>,
}

impl Results {
    /// Writes every figure as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let compared: serde_json::Map<_, _> =
            self.compared.iter().map(|c| (c.task.to_string(), json!(c.json()))).collect();
        let document = json!({"prompted": self.prompted.json(), "fine_tuned": compared});
        let text = serde_json::to_string_pretty(&document)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prompted)?;
        self.compared.iter().try_for_each(|compared| write!(f, "\n\n{compared}"))
    }
}

/// Metrics of the promptable models on the test split, seed by seed.
#[derive(Debug)]
pub(super) struct PromptedResults(pub(super) Vec<Vec<(String, f64)>>);

impl PromptedResults {
    /// Whether a metric goes into the table.
    pub(super) fn wanted(name: &str) -> bool {
        let figures = ["segm_mAP", "segm_mAP_50", "bbox_mAP", "mIoU", "dice"];
        name.split_once('/').is_some_and(|(_, figure)| figures.contains(&figure))
    }

    fn json(&self) -> Vec<Value> {
        self.0
            .iter()
            .enumerate()
            .map(|(seed, metrics)| json!({"seed": seed, "test": by_name(metrics)}))
            .collect()
    }
}

impl fmt::Display for PromptedResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.0.len();
        let s = if seeds == 1 { "" } else { "s" };
        writeln!(
            f,
            "prompted segmentation, test split, mean ± standard deviation over {seeds} seed{s} (%):\n"
        )?;
        let metrics = self.0.first().map_or(&[][..], Vec::as_slice);
        for (i, (metric, _)) in metrics.iter().enumerate() {
            let values: Vec<f64> = self.0.iter().filter_map(|m| Some(m.get(i)?.1)).collect();
            let (mean, deviation) = mean_and_deviation(&values);
            let line = format!("{metric:<28}{:>6.1} ± {:.1}", 100.0 * mean, 100.0 * deviation);
            if i + 1 < metrics.len() { writeln!(f, "{line}")? } else { write!(f, "{line}")? }
        }
        Ok(())
    }
}

fn by_name(metrics: &[(String, f64)]) -> serde_json::Map<String, Value> {
    metrics.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}

/// Scores of both kinds of start.
#[derive(Debug)]
pub(super) struct ComparedResults {
    task: Task,
    scores: Vec<Score>,
}

impl ComparedResults {
    /// # Errors
    /// If a run lacks the metric that decides.
    pub(super) fn new(task: Task, scores: Vec<Score>) -> Result<Self> {
        let primary = primary(task);
        for score in &scores {
            let known: Vec<_> = score.metrics.iter().map(|(name, _)| name.as_str()).collect();
            ensure!(
                score.get(primary).is_some(),
                "the evaluation reports no `{primary}`; it reports {}",
                known.join(", ")
            );
        }
        Ok(Self { task, scores })
    }

    fn json(&self) -> Vec<Value> {
        let run = |score: &Score| {
            json!({
                "start": score.start.to_string(),
                "seed": score.seed,
                "test": by_name(&score.metrics),
            })
        };
        self.scores.iter().map(run).collect()
    }

    fn values(&self, start: Start, metric: &str) -> Vec<f64> {
        self.scores.iter().filter(|s| s.start == start).filter_map(|s| s.get(metric)).collect()
    }

    /// Number of pretrained runs that beat the random start with the same seed, and number of pairs.
    fn wins(&self) -> (usize, usize) {
        let pretrained = self.values(Start::Pretrained, primary(self.task));
        let random = self.values(Start::Random, primary(self.task));
        let pairs = pretrained.iter().zip(&random);
        (pairs.clone().filter(|(a, b)| a > b).count(), pairs.count())
    }
}

impl fmt::Display for ComparedResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wins, pairs) = self.wins();
        let s = if pairs == 1 { "" } else { "s" };
        writeln!(
            f,
            "{} on the other kind, test split, mean ± standard deviation over {pairs} seed{s}:\n",
            self.task
        )?;
        let head = Start::ALL.map(|start| format!("{:>19}", format!("{start} start")));
        writeln!(f, "{:<12}{}", "metric", head.concat())?;
        let metrics = self.scores.first().map_or(&[][..], |score| &score.metrics);
        for (metric, _) in metrics {
            let cells = Start::ALL.map(|start| {
                let (mean, deviation) = mean_and_deviation(&self.values(start, metric));
                format!("{:>19}", format!("{mean:.3} ± {deviation:.3}"))
            });
            writeln!(f, "{metric:<12}{}", cells.concat())?;
        }
        let (pretrained, _) =
            mean_and_deviation(&self.values(Start::Pretrained, primary(self.task)));
        let (random, _) = mean_and_deviation(&self.values(Start::Random, primary(self.task)));
        let verdict = if pretrained > random { "beats" } else { "does not beat" };
        write!(
            f,
            "\nThe pretrained start {verdict} the random one with the same budget: {} \
             {pretrained:.3} against {random:.3} on average, ahead in {wins} of {pairs} seed{s}.",
            primary(self.task)
        )
    }
}

/// Mean and sample standard deviation; of a single value the deviation is 0.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(start: Start, seed: u64, f1: f64) -> Score {
        Score { start, seed, metrics: vec![("f1".into(), f1)] }
    }

    #[test]
    fn the_verdict_follows_the_means_and_counts_the_seeds() {
        let results = ComparedResults::new(
            Task::Classification,
            vec![
                score(Start::Random, 0, 0.5),
                score(Start::Pretrained, 0, 0.7),
                score(Start::Random, 1, 0.6),
                score(Start::Pretrained, 1, 0.55),
            ],
        )
        .unwrap();
        let said = results.to_string();
        assert!(said.contains("start beats the random one"), "{said}");
        assert!(said.contains("ahead in 1 of 2 seeds"), "{said}");
        assert!(said.contains("0.550 ± 0.071") && said.contains("0.625 ± 0.106"), "{said}");
        let worse = vec![score(Start::Random, 0, 0.5), score(Start::Pretrained, 0, 0.5)];
        assert!(
            ComparedResults::new(Task::Classification, worse)
                .unwrap()
                .to_string()
                .contains("does not beat")
        );
    }

    #[test]
    fn a_run_without_the_deciding_metric_is_refused() {
        let odd = Score { start: Start::Random, seed: 0, metrics: vec![("loss".into(), 1.0)] };
        assert!(
            ComparedResults::new(Task::Classification, vec![odd])
                .unwrap_err()
                .to_string()
                .contains("it reports loss")
        );
    }
}
