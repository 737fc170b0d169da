//! What a study shows: figures with intervals, who is better than whom, what it cost.

mod calibration;
mod compare;
mod cost;
mod design;
mod figures;
mod measured;
mod page;
mod pool;
mod single_images;
mod subgroups;
mod text;
mod write;

use anyhow::Result;
use serde::Serialize;
use sonotune_base::Error;
use sonotune_metrics::Direction;

use crate::{
    cells::{Cell, Study},
    state::State,
};
pub use calibration::{Calibration, CalibrationBin};
pub use compare::{Comparison, Decision, Verdict};
pub use cost::Cost;
pub use design::{Design, FoldDesign};
pub use figures::Figure;
pub use pool::Groups;
pub use single_images::{AurocTest, SingleImageTests};
pub use subgroups::{SubgroupRow, SubgroupTable};

/// The answer of a study.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The study's folder.
    pub study_dir: std::path::PathBuf,
    /// Coverage of the intervals.
    pub level: f64,
    pub resamples: usize,
    pub design: Design,
    pub tasks: Vec<TaskAnswer>,
    /// Runs that failed: they are not in the tables.
    pub failures: Vec<FailedCell>,
    /// Runs that have not been made yet.
    pub missing: Vec<String>,
    /// What a reader of the tables must know, one sentence each.
    pub notes: Vec<String>,
}

/// The answer for one task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskAnswer {
    /// Empty if the study names no tasks.
    pub task: String,
    /// The figure that ranks.
    pub metric: String,
    pub best_is: Direction,
    pub num_images: usize,
    /// Patients, or what stands for them: images of one are not independent.
    pub num_patients: usize,
    pub num_folds: usize,
    /// Best first.
    pub entries: Vec<Entry>,
    /// Each pair of entries, by the figure that ranks.
    pub comparisons: Vec<Comparison>,
    pub verdict: Verdict,
    /// McNemar's and DeLong's tests of each pair.
    pub single_image_tests: Vec<SingleImageTests>,
    /// Why there are none.
    pub no_single_image_tests: Option<String>,
    /// A table for each field of `statistics.subgroups`.
    pub subgroups: Vec<SubgroupTable>,
    /// For each entry, if the task gives probabilities.
    pub calibration: Vec<Calibration>,
    pub notes: Vec<String>,
}

/// A way to train: a model with a strategy, over all its seeds and folds.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub model: String,
    /// Empty if the study names no strategies.
    pub strategy: String,
    pub seeds: Vec<u64>,
    /// The first ranks.
    pub figures: Vec<Figure>,
    /// Share of the resamples in which it has each rank, first to last.
    pub rank_shares: Vec<f64>,
    pub cost: Cost,
    /// Names of its cells.
    pub cells: Vec<String>,
}

impl Entry {
    /// For people: `UltraSam · full`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.strategy.as_str() {
            "" => self.model.clone(),
            strategy => format!("{} · {strategy}", self.model),
        }
    }
}

/// A run that failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailedCell {
    pub cell: String,
    pub title: String,
    pub verb: String,
    pub message: String,
}

impl Answer {
    /// The answer from the cells that are done.
    ///
    /// # Errors
    /// If scores cannot be read, or were measured on different images.
    pub fn of(study: &Study, cells: &[Cell], groups: &Groups, notes: Vec<String>) -> Result<Self> {
        let (mut failures, mut missing, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for cell in cells {
            match State::of(cell, &study.files)? {
                State::Done => done.push(cell),
                State::Failed(failure) => failures.push(FailedCell {
                    cell: cell.name.clone(),
                    title: cell.title(),
                    verb: failure.verb,
                    message: failure.message,
                }),
                State::ToTrain | State::ToScore => missing.push(cell.title()),
            }
        }
        let mut tasks: Vec<&str> = cells.iter().map(|cell| cell.task.as_str()).collect();
        tasks.dedup();
        let mut seen = std::collections::BTreeSet::new();
        tasks.retain(|task| seen.insert(*task));
        let mut answers = Vec::new();
        for task in tasks {
            let of_task = |cell: &&Cell| cell.task == task;
            let all: Vec<&Cell> = cells.iter().filter(of_task).collect();
            let done: Vec<&Cell> = done.iter().copied().filter(of_task).collect();
            answers.extend(task_answer(study, task, &all, &done, groups)?);
        }
        let statistics = &study.config.statistics;
        Ok(Self {
            study_dir: study.files.folder().to_owned(),
            level: statistics.level,
            resamples: statistics.resamples,
            design: Design::of(study),
            tasks: answers,
            failures,
            missing,
            notes,
        })
    }
}

/// `None` if no model has been trained and scored on every fold.
fn task_answer(
    study: &Study,
    task: &str,
    all: &[&Cell],
    done: &[&Cell],
    groups: &Groups,
) -> Result<Option<TaskAnswer>> {
    let Some(pooled) = pool::pool(study, all, done, groups)? else { return Ok(None) };
    let mut figures = figures::Figures::of(study, task, &pooled)?;
    let order = figures.order();
    let mut compared = compare::compare(study, &pooled, &figures, &order)?;
    let shares = figures.rank_shares();
    let mut notes = pooled.notes.clone();
    notes.append(&mut figures.notes);
    notes.append(&mut compared.notes);
    let (subgroups, without) = subgroups::tables(study, &pooled, &figures, &order)?;
    notes.extend(without);
    let (calibration, without) = calibration::calibration(&pooled, &order)?;
    notes.extend(without);
    let (single_image_tests, no_single_image_tests) =
        match single_images::tests(study, &pooled, &order)? {
            Ok(tests) => (tests, None),
            Err(why) => (Vec::new(), Some(why)),
        };
    let entry = |&index: &usize| -> Result<Entry> {
        let arm = &pooled.arms[index];
        Ok(Entry {
            model: arm.model.clone(),
            strategy: arm.strategy.clone(),
            seeds: arm.seeds.clone(),
            figures: figures.of_arm(index),
            rank_shares: shares[index].clone(),
            cost: Cost::of(study, &arm.cells)?,
            cells: arm.cells.clone(),
        })
    };
    Ok(Some(TaskAnswer {
        task: task.to_owned(),
        metric: figures.primary().name.clone(),
        best_is: figures.primary().best_is,
        num_images: pooled.num_images(),
        num_patients: pooled.clusters.len(),
        num_folds: pooled.num_folds,
        entries: order.iter().map(entry).collect::<Result<_>>()?,
        comparisons: compared.pairs,
        verdict: compared.verdict,
        single_image_tests,
        no_single_image_tests,
        subgroups,
        calibration,
        notes,
    }))
}

/// What a figure cannot be computed from, with the exit code of data or of the config.
fn explained<T>(result: Result<T, sonotune_statistics::Error>) -> Result<T> {
    Ok(result.map_err(Error::from)?)
}
