//! The config of a run.

mod schema;
#[cfg(test)]
mod tests;
mod validate;

use std::path::{Path, PathBuf};

pub use crate::config::schema::{EvaluationConfig, LoggingConfig, RunConfig};
use anyhow::Result;
use sonotune_base::Error;
use sonotune_config as config;
use sonotune_config::{KeyInfo, Problem, Registered, Schema};
use sonotune_weights::keymap::conventions;

/// The config of a run with all that it inherits and overrides, checked.
pub type Loaded = config::Loaded<RunConfig>;

impl Schema for RunConfig {
    const TABLES: &'static [&'static str] = &["backbone", "task", "dataset"];

    fn validate(&self) -> Vec<Problem> {
        self.problems()
    }

    /// The naming conventions of weight files.
    fn check_linked() -> Result<()> {
        let mut names: Vec<&str> = conventions().map(|convention| convention.name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let message = format!("two naming conventions of weights are named {:?}", pair[0]);
                Err(Error::config(message).into())
            }
            None => Ok(()),
        }
    }
}

/// Reads the config of a run; see [`config::load`].
///
/// # Errors
/// Of kind config; one text that names every problem with file, line and key.
pub fn load(path: &Path, overrides: &[String]) -> Result<Loaded> {
    require_dataset(load_for_prediction(path, overrides)?)
}

/// Same as [`load`] for several files, each merged on top of those before it; see [`config::load_layers`].
///
/// # Errors
/// Same errors as [`load`].
pub fn load_layers(paths: &[PathBuf], overrides: &[String]) -> Result<Loaded> {
    require_dataset(config::load_layers(paths, overrides)?)
}

/// Same as [`load`], also without `[dataset]`.
///
/// # Errors
/// Same errors as [`load`].
pub fn load_for_prediction(path: &Path, overrides: &[String]) -> Result<Loaded> {
    config::load(path, overrides)
}

fn require_dataset(loaded: Loaded) -> Result<Loaded> {
    match missing_dataset(&loaded) {
        Some(problem) => Err(Error::config(problem.to_string()).into()),
        None => Ok(loaded),
    }
}

fn missing_dataset(loaded: &Loaded) -> Option<Problem> {
    let file = loaded.path().display();
    loaded
        .config
        .dataset
        .is_none()
        .then(|| Problem::error(format!("{file}: {}", schema::NO_DATASET)).key("dataset"))
}

/// Reads the config of a run; see [`config::check`].
///
/// # Errors
/// Every problem.
pub fn check(path: &Path, overrides: &[String]) -> Result<Loaded, Vec<Problem>> {
    let loaded = config::check(path, overrides)?;
    missing_dataset(&loaded).map_or(Ok(loaded), |problem| Err(vec![problem]))
}

/// The backbones, tasks and datasets that are linked in.
///
/// # Errors
/// If two types share a name, or a summary belongs to none.
pub fn registered() -> Result<Vec<Registered>> {
    config::registered::<RunConfig>()
}

/// Every key that the config of a run can hold, those of plugins included.
#[must_use]
pub fn known_keys() -> Vec<KeyInfo> {
    config::known_keys::<RunConfig>()
}
