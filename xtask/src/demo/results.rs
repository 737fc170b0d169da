//! The demo's table: each metric of both ways of starting, over the seeds.

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::sonotune::Start;

/// The metric that the verdict goes by: the macro F1 of all classes.
const PRIMARY: &str = "f1";

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

/// Scores of all runs.
#[derive(Debug)]
pub(super) struct Results {
    scores: Vec<Score>,
}

impl Results {
    /// # Errors
    /// When a run lacks the metric that decides.
    pub(super) fn new(scores: Vec<Score>) -> Result<Self> {
        for score in &scores {
            let known: Vec<_> = score.metrics.iter().map(|(name, _)| name.as_str()).collect();
            ensure!(
                score.get(PRIMARY).is_some(),
                "the evaluation reports no `{PRIMARY}`; it reports {}",
                known.join(", ")
            );
        }
        Ok(Self { scores })
    }

    /// Writes every figure as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let runs: Vec<_> = self
            .scores
            .iter()
            .map(|score| {
                let metrics: serde_json::Map<_, _> = score
                    .metrics
                    .iter()
                    .map(|(name, value)| (name.clone(), json!(value)))
                    .collect();
                json!({"start": score.start.to_string(), "seed": score.seed, "test": metrics})
            })
            .collect();
        let text = serde_json::to_string_pretty(&json!({"runs": runs}))?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn values(&self, start: Start, metric: &str) -> Vec<f64> {
        self.scores.iter().filter(|s| s.start == start).filter_map(|s| s.get(metric)).collect()
    }

    /// Runs of a pretrained start that beat the random start of the same seed, and pairs in all.
    fn wins(&self) -> (usize, usize) {
        let pretrained = self.values(Start::Pretrained, PRIMARY);
        let random = self.values(Start::Random, PRIMARY);
        let pairs = pretrained.iter().zip(&random);
        (pairs.clone().filter(|(a, b)| a > b).count(), pairs.count())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wins, pairs) = self.wins();
        let s = if pairs == 1 { "" } else { "s" };
        writeln!(f, "test split, mean ± standard deviation over {pairs} seed{s}:\n")?;
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
        let (pretrained, _) = mean_and_deviation(&self.values(Start::Pretrained, PRIMARY));
        let (random, _) = mean_and_deviation(&self.values(Start::Random, PRIMARY));
        let verdict = if pretrained > random { "beats" } else { "does not beat" };
        write!(
            f,
            "\nThe pretrained start {verdict} the random one with the same budget: {PRIMARY} \
             {pretrained:.3} against {random:.3} on average, ahead in {wins} of {pairs} seed{s}."
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
        let results = Results::new(vec![
            score(Start::Random, 0, 0.5),
            score(Start::Pretrained, 0, 0.7),
            score(Start::Random, 1, 0.6),
            score(Start::Pretrained, 1, 0.55),
        ])
        .unwrap();
        let said = results.to_string();
        assert!(said.contains("start beats the random one"), "{said}");
        assert!(said.contains("ahead in 1 of 2 seeds"), "{said}");
        assert!(said.contains("0.550 ± 0.071") && said.contains("0.625 ± 0.106"), "{said}");
        let worse = vec![score(Start::Random, 0, 0.5), score(Start::Pretrained, 0, 0.5)];
        assert!(Results::new(worse).unwrap().to_string().contains("does not beat"));
    }

    #[test]
    fn a_run_without_the_deciding_metric_is_refused() {
        let odd = Score { start: Start::Random, seed: 0, metrics: vec![("loss".into(), 1.0)] };
        assert!(Results::new(vec![odd]).unwrap_err().to_string().contains("it reports loss"));
    }
}
