//! `sonotune study`.

mod dry_run;
mod job;
mod preflight;
mod progress;
mod queue;

use std::{fs::File, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use sonotune_base::{Error, fs::atomic_write, words::counted};
use sonotune_study::{Answer, Cell, Failure, Folds, State, Study, make_folds};

use crate::progress::Busy;
use queue::{Ended, Queue};

#[derive(Debug, Args)]
pub(super) struct StudyArgs {
    /// File of the study.
    #[arg(value_name = "STUDY")]
    file: PathBuf,
    /// Changes to that file, e.g. `budget.hours=8`.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print what would be run, try each kind of run for a few steps, and estimate time and memory. Writes
    /// nothing into the study's folder.
    #[arg(long, conflicts_with_all = ["retry_failed", "only_answer"])]
    dry_run: bool,
    /// Also run again what has failed before.
    #[arg(long)]
    retry_failed: bool,
    /// Run nothing: write the answer from the runs that are finished.
    #[arg(long, conflicts_with = "retry_failed")]
    only_answer: bool,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StudyArgs) -> Result<()> {
    let study = Study::load(&args.file, &args.overrides)?;
    if args.dry_run {
        return dry_run::run(&study, args.json);
    }
    let _lock = lock(&study)?;
    let folds = folds(&study)?;
    let cells = study.cells(folds.as_ref())?;
    let notes = preflight::prepare(&study, &cells)?;
    for note in folds.iter().flat_map(|folds| &folds.notes).chain(&notes) {
        eprintln!("note: {note}");
    }
    if args.retry_failed {
        cells.iter().try_for_each(|cell| Failure::forget(cell, &study.files))?;
    }
    let ended = match args.only_answer {
        true => Ended::Complete,
        false => Queue::new(&study, &cells)?.run()?,
    };
    if ended == Ended::Stopped {
        let message = "stopped as asked; the same command goes on where it was";
        return Err(Error::interrupted(message).into());
    }
    let mut all = notes;
    let groups = folds.map(|folds| {
        all.extend(folds.notes);
        folds.groups
    });
    let busy = Busy::new("comparing");
    let answer = Answer::of(&study, &cells, &groups.unwrap_or_default(), all)?;
    answer.write(&study)?;
    drop(busy);
    super::present(args.json, &answer, |answer| print!("{}", answer.text()))?;
    if !args.json {
        println!("written to {}", study.files.page().display());
    }
    report_end(&study, &cells, ended, args.only_answer)
}

/// What keeps the answer from being complete, as an error.
fn report_end(study: &Study, cells: &[Cell], ended: Ended, only_answer: bool) -> Result<()> {
    let mut failed = Vec::new();
    let mut left = 0;
    for cell in cells {
        match State::of(cell, &study.files)? {
            State::Done => {}
            State::Failed(failure) => failed.push((cell, failure)),
            State::ToTrain | State::ToScore => left += 1,
        }
    }
    if ended == Ended::OutOfTime || (only_answer && left > 0) {
        eprintln!("note: {} of {} not run yet", left, counted(cells.len(), "run"));
    }
    let Some((first, failure)) = failed.first() else { return Ok(()) };
    let message = format!(
        "{} of {} failed and are not in the answer; the first is {}, whose log is {}: {}. --retry-failed runs \
         them again",
        failed.len(),
        counted(cells.len(), "run"),
        first.title(),
        study.files.log(&first.name).display(),
        failure.message.trim_end_matches('.')
    );
    Err(sonotune_base::error::of_exit_code(failure.exit_code, message))
}

/// Makes the study's folder and keeps a second process out of it.
fn lock(study: &Study) -> Result<File> {
    let folder = study.files.folder();
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let path = study.files.lock();
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(Error::config(format!(
                "{} belongs to a study that is running; wait for it, or choose another study_dir",
                folder.display()
            ))
            .into());
        }
        // The file system has no locks.
        Err(std::fs::TryLockError::Error(_)) => {}
    }
    atomic_write(&study.files.config(), study.resolved.as_bytes())?;
    Ok(file)
}

fn folds(study: &Study) -> Result<Option<Folds>> {
    let config = study.config.folds.as_ref();
    config.map(|config| make_folds(config, &study.files.folds())).transpose()
}
