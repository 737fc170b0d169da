//! `report.html`: what a run did, on one page that needs nothing else.
//!
//! The page is a function of the run folder. What no other file there contains (counts of the splits,
//! tables and pictures of an evaluation) is kept in its folder `report/`, see [`kept`]; so the page
//! can be written again at any time, including evaluations made since.
//!
//! No script, no other files, no network (a content security policy forbids it): it can be mailed.
//! Its size is bounded: [`ranking`] says how many pictures there are and how large, and curves of any
//! length have at most a few hundred points.

pub mod chart;
pub mod compare;
pub mod curves;
pub mod document;
mod facts;
pub mod kept;
mod page;
pub mod pictures;
pub mod ranking;
mod records;
pub mod scale;
mod scores;
mod weights;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use kept::{By, Kept, Shown, SplitCounts};
pub use ranking::{Picture, Ranked, Ranking};

use sonotune_base::fs::atomic_write;
use sonotune_run_folder::RunFiles;

/// Writes `report.html` of the run in `run_dir`, from the files there.
///
/// # Errors
/// A config error if it is not a run folder; file system errors. A file that cannot be read or
/// understood is named on the page and is not an error.
pub fn write(run_dir: &Path) -> Result<PathBuf> {
    let path = RunFiles::of(run_dir).report();
    atomic_write(&path, html(run_dir)?.as_bytes())?;
    Ok(path)
}

/// The page of the run in `run_dir`.
///
/// # Errors
/// Same errors as [`write()`], except those of writing.
pub fn html(run_dir: &Path) -> Result<String> {
    Ok(page::page(&records::Records::read(run_dir)?).into_string())
}
