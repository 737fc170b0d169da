//! How long a study takes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sonotune_base::{fs::read_if_exists, words::duration};
use sonotune_dataset::Split;
use sonotune_run_folder::{EvalRecord, RunFiles, Summary};
use sonotune_study::{Cell, Study};

/// Seconds that runs took, by what they train.
#[derive(Debug, Default)]
pub(super) struct Durations {
    by_kind: HashMap<(String, String, String), Vec<f64>>,
}

fn kind(cell: &Cell) -> (String, String, String) {
    (cell.task.clone(), cell.model.clone(), cell.strategy.clone())
}

impl Durations {
    pub(super) fn add(&mut self, cell: &Cell, seconds: f64) {
        self.by_kind.entry(kind(cell)).or_default().push(seconds);
    }

    /// Takes the time of a finished run from its summary.
    pub(super) fn add_finished(&mut self, study: &Study, cell: &Cell) {
        let summary = RunFiles::of(&study.files.run(&cell.name)).summary();
        let text = read_if_exists(&summary).ok().flatten();
        if let Some(summary) = text.and_then(|text| serde_json::from_str::<Summary>(&text).ok()) {
            self.add(cell, summary.wall_seconds);
        }
    }

    /// Seconds that a cell will take: the mean of its repeats, otherwise of all; `None` if none is known.
    fn of(&self, cell: &Cell) -> Option<f64> {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        if let Some(own) = self.by_kind.get(&kind(cell)) {
            return Some(mean(own));
        }
        let all: Vec<f64> = self.by_kind.values().flatten().copied().collect();
        (!all.is_empty()).then(|| mean(&all))
    }

    /// Seconds until these cells are done, this many at a time.
    pub(super) fn left<'a>(
        &self,
        cells: impl IntoIterator<Item = &'a Cell>,
        at_a_time: usize,
    ) -> Option<f64> {
        let seconds: Option<f64> = cells.into_iter().map(|cell| self.of(cell)).sum();
        seconds.map(|seconds| seconds / at_a_time as f64)
    }
}

/// Says that a cell is done.
pub(super) fn say_done(
    study: &Study,
    cell: &Cell,
    place: (usize, usize),
    begin: Instant,
    left: Option<f64>,
) {
    let took = duration(begin.elapsed().as_secs_f64());
    let left = match left {
        Some(seconds) if seconds >= 1.0 => format!("; about {} left", duration(seconds)),
        _ => String::new(),
    };
    let score = headline(study, cell).unwrap_or_default();
    eprintln!("[{}/{}] {}: {score}{took}{left}", place.0, place.1, cell.title());
}

fn headline(study: &Study, cell: &Cell) -> Option<String> {
    let path = RunFiles::of(&study.files.run(&cell.name)).scores(Split::Test);
    let record: EvalRecord = serde_json::from_str(&read_if_exists(&path).ok()??).ok()?;
    let wanted = study.metric_of(&cell.task);
    let metric = wanted.and_then(|name| record.report.get(name));
    let metric = metric.or_else(|| record.report.headline().into_iter().next())?;
    Some(format!("{} {}, ", metric.name, sonotune_base::words::score(metric.value)))
}

/// Time that the user allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) fn after(hours: Option<f64>) -> Self {
        let time = hours.and_then(|hours| Duration::try_from_secs_f64(hours * 3600.0).ok());
        Self(time.and_then(|time| Instant::now().checked_add(time)))
    }

    pub(super) fn is_over(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}
