//! The answer as tables of text.

use std::fmt::Write as _;

use sonotune_base::words::{bytes, duration, percent, significant};
use sonotune_metrics::{Direction, table::grid};

use super::{Answer, Comparison, Entry, Figure, TaskAnswer};

impl Answer {
    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for task in &self.tasks {
            if !task.task.is_empty() {
                let _ = writeln!(text, "{}", task.task);
            }
            let (header, rows) = task.ranking();
            text += &grid(&header, rows);
            if !task.comparisons.is_empty() {
                let (header, rows) = task.pairs();
                text += &grid(&header, rows);
            }
            let _ = writeln!(text, "{}", task.verdict.text);
            for note in &task.notes {
                let _ = writeln!(text, "note: {note}");
            }
        }
        if self.tasks.is_empty() {
            text += "no model is trained and scored on every fold yet\n";
        }
        for failure in &self.failures {
            let _ =
                writeln!(text, "failed: {} ({}): {}", failure.title, failure.verb, failure.message);
        }
        text
    }
}

impl TaskAnswer {
    /// A row for each way to train, best first.
    #[must_use]
    pub fn ranking(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut header: Vec<String> = ["", "model", "strategy"].map(str::to_owned).into();
        let first = self.entries.first();
        header.extend(first.iter().flat_map(|entry| &entry.figures).map(|f| f.name.clone()));
        header.extend(["first in", "time a run", "memory"].map(str::to_owned));
        let row = |(place, entry): (usize, &Entry)| {
            let mut row =
                vec![(place + 1).to_string(), entry.model.clone(), entry.strategy.clone()];
            row.extend(entry.figures.iter().map(Figure::text));
            row.push(format!(
                "{} %",
                percent(entry.rank_shares.first().copied().unwrap_or(f64::NAN))
            ));
            row.push(entry.cost.seconds.map_or(String::new(), duration));
            row.push(entry.cost.memory_bytes.map_or(String::new(), bytes));
            row
        };
        (header, self.entries.iter().enumerate().map(row).collect())
    }

    /// A row for each pair.
    #[must_use]
    pub fn pairs(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut header = vec!["model", "against", "difference", "p", "p (Holm)"];
        let has_wilcoxon = self.comparisons.iter().any(|pair| pair.p_wilcoxon.is_some());
        if has_wilcoxon {
            header.push("p (Wilcoxon)");
        }
        header.push("significant");
        let figure = self.entries.first().and_then(|entry| entry.figures.first());
        let row = |pair: &Comparison| {
            let show = |value: f64| figure.map_or_else(String::new, |figure| figure.number(value));
            let interval = pair
                .interval
                .map_or(String::new(), |[low, high]| format!(" [{}, {}]", show(low), show(high)));
            let mut row = vec![
                pair.first.clone(),
                pair.second.clone(),
                format!("{}{interval}", show(pair.difference)),
                p_value(pair.p_value),
                p_value(pair.p_adjusted),
            ];
            if has_wilcoxon {
                row.push(pair.p_wilcoxon.map_or(String::new(), p_value));
            }
            row.push(if pair.is_significant { "yes" } else { "no" }.to_owned());
            row
        };
        (
            header.into_iter().map(str::to_owned).collect(),
            self.comparisons.iter().map(row).collect(),
        )
    }
}

impl Figure {
    /// `81.2 [77.0, 84.9]`: shares in percent, distances as they are.
    #[must_use]
    pub fn text(&self) -> String {
        match self.interval {
            Some([low, high]) => {
                format!("{} [{}, {}]", self.number(self.value), self.number(low), self.number(high))
            }
            None => self.number(self.value),
        }
    }

    /// A value of this figure.
    #[must_use]
    pub fn number(&self, value: f64) -> String {
        match self.best_is {
            Direction::Highest => percent(value),
            Direction::Lowest => significant(value),
        }
    }
}

/// `0.034`, `< 0.001`.
#[must_use]
pub(super) fn p_value(p: f64) -> String {
    if p.is_nan() {
        return "–".to_owned();
    }
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
