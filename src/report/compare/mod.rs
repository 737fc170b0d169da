//! Scores of several runs in one table: runs that differ only in their seed become a mean and a
//! standard deviation.
//!
//! Scores that cannot be compared are rejected (`same`): a table of numbers that were measured
//! differently looks like any other.

mod groups;
mod render;
mod run;
mod same;

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

pub use render::{Format, latex_escaped, render};
use run::Run;

use sonotune_base::{Error, pattern};
use sonotune_dataset::Split;
use sonotune_metrics::Direction;

/// What to compare.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Run folders.
    pub runs: Vec<PathBuf>,
    pub split: Split,
    /// Names of metrics, `*` for any characters; empty: the headline metric of each run.
    pub metrics: Vec<String>,
}

/// A table over runs.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub split: Split,
    /// Common to all runs, like everything that a score depends on.
    pub dataset: PathBuf,
    pub dataset_sha256: Option<String>,
    pub num_images: usize,
    pub num_objects: usize,
    pub conditions: Vec<(String, String)>,
    pub columns: Vec<Column>,
    pub groups: Vec<Group>,
    /// What a reader should know about individual runs.
    pub notes: Vec<String>,
}

/// A metric of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub metric: String,
    /// Which direction is better, if known.
    pub best_is: Option<Direction>,
}

/// Runs that differ only in their seed.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    pub name: String,
    /// One per column; `None` if no run has the metric.
    pub cells: Vec<Option<Cell>>,
    pub runs: Vec<RunRow>,
}

/// A metric over the runs of a group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cell {
    /// Over the runs for which it is defined; NaN (`null` in JSON) if there are none.
    pub mean: f64,
    /// Sample standard deviation (over n − 1); absent for fewer than two runs.
    pub sd: Option<f64>,
    /// Runs for which it is defined.
    pub n: usize,
    /// Whether it is the best of its column.
    pub is_best: bool,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    pub run: PathBuf,
    pub seed: u64,
    pub checkpoint: PathBuf,
    pub step: u64,
    /// One per column; `None` if the run does not have the metric, NaN if it is undefined.
    pub values: Vec<Option<f64>>,
}

/// Reads the scores of the runs, checks that they can be compared, and compares them.
///
/// # Errors
/// A config error for a folder that is not a run folder, one given twice, or an unknown metric; a data
/// error for a run without scores for that split (says how to compute them), or scores that cannot be
/// compared (says which runs differ in what).
pub fn compare(options: &CompareOptions) -> Result<Comparison> {
    let runs = options.runs.iter().map(|path| Run::read(path, options.split));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    run::ensure_distinct(&runs)?;
    same::ensure_comparable(&runs)?;
    let first = &runs.first().ok_or_else(|| Error::config("give at least one run"))?.record;
    let names = chosen_metrics(&runs, &options.metrics)?;
    let columns: Vec<_> = names.into_iter().map(|metric| column(metric, &runs)).collect();
    let mut groups: Vec<_> =
        groups::group(&runs).into_iter().map(|(name, runs)| group(name, &runs, &columns)).collect();
    mark_best(&mut groups, &columns);
    Ok(Comparison {
        split: options.split,
        dataset: first.dataset.clone(),
        dataset_sha256: first.dataset_sha256.clone(),
        num_images: first.num_images,
        num_objects: first.num_objects,
        conditions: first.report.conditions.clone(),
        notes: notes(&runs, &groups, first.dataset_sha256.is_none()),
        columns,
        groups,
    })
}

fn chosen_metrics(runs: &[Run], wanted: &[String]) -> Result<Vec<String>> {
    let mut chosen: Vec<String> = Vec::new();
    let mut take = |name: &str| {
        if !chosen.iter().any(|known| known == name) {
            chosen.push(name.to_owned());
        }
    };
    if wanted.is_empty() {
        runs.iter().flat_map(|r| r.record.report.headline()).for_each(|m| take(&m.name));
        return Ok(chosen);
    }
    for name in wanted {
        let all = || runs.iter().flat_map(|r| &r.record.report.metrics);
        let mut found = all().filter(|m| pattern::matches(name, &m.name)).peekable();
        if found.peek().is_none() {
            let mut known: Vec<_> = all().map(|m| m.name.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            return Err(Error::config(format!(
                "--metric {name}: no run has this metric; they have {}",
                known.join(", ")
            ))
            .into());
        }
        found.for_each(|m| take(&m.name));
    }
    Ok(chosen)
}

/// What the runs' configs say decides, then what their tasks reported.
fn column(metric: String, runs: &[Run]) -> Column {
    let configured = runs.iter().find_map(|run| run.direction_of(&metric));
    let reported = runs.iter().find_map(|run| run.record.report.get(&metric)?.direction);
    Column { best_is: configured.or(reported), metric }
}

fn group(name: String, runs: &[&Run], columns: &[Column]) -> Group {
    let value = |run: &Run, column: &Column| run.record.report.get(&column.metric).map(|m| m.value);
    let cell = |column: &Column| {
        let values: Vec<f64> = runs.iter().filter_map(|run| value(run, column)).collect();
        (!values.is_empty()).then(|| Cell::of(&values))
    };
    let row = |run: &&Run| RunRow {
        run: run.path.clone(),
        seed: run.seed,
        checkpoint: run.record.checkpoint.clone(),
        step: run.record.step,
        values: columns.iter().map(|column| value(run, column)).collect(),
    };
    Group { name, cells: columns.iter().map(cell).collect(), runs: runs.iter().map(row).collect() }
}

impl Cell {
    fn of(values: &[f64]) -> Self {
        let defined: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let n = defined.len();
        let mean = defined.iter().sum::<f64>() / n as f64;
        let squares: f64 = defined.iter().map(|v| (v - mean).powi(2)).sum();
        let sd = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Self { mean, sd, n, is_best: false }
    }
}

fn mark_best(groups: &mut [Group], columns: &[Column]) {
    for (index, column) in columns.iter().enumerate() {
        let Some(direction) = column.best_is else { continue };
        let means = groups.iter().filter_map(|g| g.cells[index]).map(|c| c.mean);
        let means: Vec<f64> = means.filter(|mean| mean.is_finite()).collect();
        let best = match direction {
            Direction::Highest => means.iter().copied().reduce(f64::max),
            Direction::Lowest => means.iter().copied().reduce(f64::min),
        };
        // The best of one run means nothing.
        let Some(best) = best.filter(|_| means.len() > 1) else { continue };
        for cell in groups.iter_mut().filter_map(|g| g.cells[index].as_mut()) {
            cell.is_best = cell.mean == best;
        }
    }
}

fn notes(runs: &[Run], groups: &[Group], without_hash: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if without_hash {
        notes.push(
            "this kind of dataset has no annotation file to hash: only its path and counts were compared, \
             not its content"
                .to_owned(),
        );
    }
    for group in groups {
        for (i, row) in group.runs.iter().enumerate() {
            if let Some(same) = group.runs[..i].iter().find(|other| other.seed == row.seed) {
                notes.push(format!(
                    "{} and {} have the same seed {}: they are not independent repeats",
                    same.run.display(),
                    row.run.display(),
                    row.seed
                ));
            }
        }
    }
    let file = |run: &Run| {
        let name = run.record.checkpoint.file_name().unwrap_or_default().to_string_lossy();
        if run.record.averaged { format!("{name} (moving average)") } else { name.into_owned() }
    };
    let files: Vec<String> = runs.iter().map(file).collect();
    if files.iter().any(|name| *name != files[0]) {
        let each =
            runs.iter().zip(&files).map(|(run, file)| format!("{} {file}", run.path.display()));
        notes.push(format!(
            "not all scores are from the same kind of checkpoint: {}",
            each.collect::<Vec<_>>().join(", ")
        ));
    }
    notes.extend(runs.iter().filter_map(Run::unfinished));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let cell = Cell::of(&[1.0, 2.0, 4.0, f64::NAN]);
        assert_eq!(cell.n, 3);
        assert!((cell.mean - 7.0 / 3.0).abs() < 1e-15);
        // Squares 16/9, 1/9, 25/9 over n − 1 = 2.
        assert!((cell.sd.unwrap() - (42.0f64 / 18.0).sqrt()).abs() < 1e-15);
        assert_eq!(Cell::of(&[0.5]).sd, None);
        assert!(Cell::of(&[f64::NAN]).mean.is_nan());
    }
}
