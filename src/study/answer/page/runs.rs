//! What the runs show: learning curves and cost.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use sonotune_base::{
    fs::read_if_exists,
    words::{bytes, duration},
};
use sonotune_report::{
    chart::{Chart, Series},
    curves::Logged,
};
use sonotune_run_folder::{RunFiles, Summary};

use super::{
    super::{Entry, TaskAnswer},
    table,
};
use crate::folder::StudyFiles;

/// Curves with more colours cannot be told apart.
const MOST_ENTRIES: usize = 10;

type Points = Vec<(u64, f64)>;

/// The validation metric of every run, thin, and their mean for each entry.
pub(super) fn curves(task: &TaskAnswer, files: &StudyFiles) -> Markup {
    let mut charts: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    let mut without = Vec::new();
    for entry in task.entries.iter().take(MOST_ENTRIES) {
        let (metric, repeats) = of_entry(entry, &task.metric, files);
        match metric {
            Some(metric) => charts.entry(metric).or_default().push(Series {
                name: entry.name(),
                points: mean(&repeats),
                repeats,
            }),
            None => without.push(entry.name()),
        }
    }
    html! {
        div.charts {
            @for (metric, series) in charts {
                (Chart { title: format!("{metric} on val"), series, may_be_log: false }.render(&[]))
            }
        }
        p.hint { "Thick: mean over seeds and folds, as far as all runs go. Thin: each run." }
        @if !without.is_empty() { p.hint { "No validation metric was logged for " (without.join(", ")) "." } }
        @if task.entries.len() > MOST_ENTRIES { p.hint { "The best " (MOST_ENTRIES) " of " (task.entries.len()) " are shown." } }
    }
}

/// The metric that ranks, else the one by which the runs chose their checkpoints.
fn of_entry(entry: &Entry, metric: &str, files: &StudyFiles) -> (Option<String>, Vec<Points>) {
    let (mut found, mut repeats) = (None, Vec::new());
    for cell in &entry.cells {
        let run = RunFiles::of(&files.run(cell));
        let read = |path: &std::path::Path| read_if_exists(path).ok().flatten().unwrap_or_default();
        let logged = Logged::parse(&read(&run.metrics()));
        let chosen = serde_json::from_str::<Summary>(&read(&run.summary())).ok();
        let chosen = chosen.and_then(|summary| summary.best).map(|best| best.metric);
        let names = [Some(metric.to_owned()), chosen, found.clone()];
        let series = names
            .into_iter()
            .flatten()
            .find_map(|name| logged.of("val", |logged| logged == name).into_iter().next());
        if let Some(series) = series {
            found.get_or_insert(series.name);
            repeats.push(series.points);
        }
    }
    (found, repeats)
}

/// Mean over the runs at the steps that all of them logged.
fn mean(repeats: &[Points]) -> Points {
    let mut values: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (step, value) in repeats.iter().flatten() {
        values.entry(*step).or_default().push(*value);
    }
    values.retain(|_, of_runs| of_runs.len() == repeats.len());
    let mean = |of_runs: Vec<f64>| of_runs.iter().sum::<f64>() / of_runs.len() as f64;
    values.into_iter().map(|(step, of_runs)| (step, mean(of_runs))).collect()
}

pub(super) fn cost(task: &TaskAnswer) -> Markup {
    let header = ["model", "runs", "time a run", "all runs", "peak memory"].map(str::to_owned);
    let row = |entry: &Entry| {
        let runs = entry.cells.len();
        let time =
            |factor: f64| entry.cost.seconds.map_or("–".to_owned(), |s| duration(s * factor));
        vec![
            entry.name(),
            runs.to_string(),
            time(1.0),
            time(runs as f64),
            entry.cost.memory_bytes.map_or("–".to_owned(), bytes),
        ]
    };
    let rows: Vec<Vec<String>> = task.entries.iter().map(row).collect();
    html! {
        p.hint { "Wall time of training with its evaluations, mean over runs; memory of the GPU, or of the process on a CPU." }
        (table(&header, &rows, 1))
    }
}

/// Links to the pages of the runs, which show their best and worst predicted images.
pub(super) fn pages(task: &TaskAnswer, files: &StudyFiles) -> Markup {
    let there = |cell: &&String| RunFiles::of(&files.run(cell)).report().is_file();
    let cells: BTreeSet<&String> =
        task.entries.iter().flat_map(|entry| &entry.cells).filter(there).collect();
    html! {
        @if !cells.is_empty() {
            details {
                summary { "Pages of the runs, with their best and worst predicted images" }
                ul.items {
                    @for cell in cells { li { a href={ "runs/" (cell) "/report.html" } { (cell) } } }
                }
            }
        }
    }
}
