//! The report of a run, written as far as possible: a run does not fail because of it.

use std::{path::Path, sync::Arc};

use anyhow::Result;

use crate::logging::RunLogger;
use sonotune_dataset::{Dataset, Split, Statistics};
use sonotune_report as report;
use sonotune_report::{Kept, SplitCounts};

/// Warns when something that only the report needs could not be kept.
pub(super) fn keep(logger: &RunLogger, kept: Result<()>) {
    if let Err(error) = kept {
        logger.warn(&format!("{error:#}; the report will not contain this"));
    }
}

/// Keeps the counts of the splits that a training uses.
pub(super) fn keep_counts(
    logger: &RunLogger,
    run_dir: &Path,
    splits: [(Split, Option<&Arc<Dataset>>); 2],
) {
    let counts = |(split, dataset): (Split, Option<&Arc<Dataset>>)| {
        Some(SplitCounts { split, counts: Statistics::of(dataset?) })
    };
    let counts: Vec<_> = splits.into_iter().filter_map(counts).collect();
    keep(logger, Kept::of(run_dir).write_counts(&counts));
}

/// Writes `report.html` once training has ended, however it ended.
pub(super) fn after_training(logger: &RunLogger, run_dir: &Path) {
    match report::write(run_dir) {
        Ok(path) => logger.info(&format!("report: {}", path.display())),
        Err(error) => logger.warn(&format!(
            "{error:#}; nothing else of the run is lost; `sonotune report --run {}` writes its report",
            run_dir.display()
        )),
    }
}
