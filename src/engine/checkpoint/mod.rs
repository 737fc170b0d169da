//! Saving a run and going on with it.
//!
//! A checkpoint is one `.safetensors` file: the model's variables under their own names, the
//! optimiser's state under `optimizer.`, and [`Progress`] as JSON in the header. One file is
//! written under a temporary name and renamed, so that there is a whole checkpoint at any moment.
//! All else a resume needs is a function of (seed, step).

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn, no_grad};

use crate::{
    Error,
    data::Category,
    optim::Optimizer,
    weights::{self, WeightsFile},
};

/// File of the newest state within a run's `checkpoints` folder.
pub const LAST: &str = "last.safetensors";
/// File of the best model within a run's `checkpoints` folder: no optimiser state.
pub const BEST: &str = "best.safetensors";

/// Prefix of the optimiser's tensors.
pub const OPTIMIZER_PREFIX: &str = "optimizer.";
const HEADER_KEY: &str = "sonotune";

/// How far a run has come, and what its model predicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimiser steps done.
    pub step: u64,
    pub seed: u64,
    /// In the order of class indices.
    pub categories: Vec<Category>,
    pub best: Option<Best>,
    /// How the task uses its weights, where it knows several ways: a model that starts from this
    /// checkpoint uses them likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convention: Option<String>,
}

/// The best evaluation so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub metric: String,
    pub value: f64,
    pub step: u64,
}

/// Writes the model, and the optimiser's state if given, to `path`; what was there stays until the
/// new file is whole.
///
/// # Errors
/// When the file cannot be written; the old one is then untouched.
pub fn save(
    path: &Path,
    vs: &nn::VarStore,
    optimizer: Option<&Optimizer>,
    progress: &Progress,
) -> Result<()> {
    let mut tensors: Vec<_> = vs.variables().into_iter().collect();
    if let Some(optimizer) = optimizer {
        let state = optimizer.state().into_iter();
        tensors.extend(state.map(|(name, tensor)| (format!("{OPTIMIZER_PREFIX}{name}"), tensor)));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    save_tensors(path, &tensors, progress)
}

/// Writes tensors as a checkpoint of a run.
pub(crate) fn save_tensors(
    path: &Path,
    tensors: &[(String, Tensor)],
    progress: &Progress,
) -> Result<()> {
    let header = BTreeMap::from([(HEADER_KEY.to_owned(), serde_json::to_string(progress)?)]);
    weights::save_safetensors(path, tensors, &header)
        .with_context(|| format!("cannot save checkpoint {}", path.display()))
}

/// Reads how far the run of a checkpoint had come.
///
/// # Errors
/// Of kind weights when it is not a checkpoint of a run.
pub fn read_progress(path: &Path) -> Result<Progress> {
    progress_of(&weights::open(path)?, path)
}

fn progress_of(file: &WeightsFile, path: &Path) -> Result<Progress> {
    let text = file.metadata().get(HEADER_KEY).ok_or_else(|| {
        Error::weights(format!(
            "{} is not a checkpoint of a Sonotune run; name pretrained weights under [weights]",
            path.display()
        ))
    })?;
    serde_json::from_str(text).map_err(|error| {
        Error::weights(format!("{}: its header is damaged: {error}", path.display())).into()
    })
}

/// Puts a checkpoint's values into the model, every variable of it, and into the optimiser if
/// given.
///
/// # Errors
/// Of kind weights when the file is not a checkpoint, or one of another model or optimiser; names
/// the first variable that differs.
pub fn restore(
    path: &Path,
    vs: &nn::VarStore,
    optimizer: Option<&mut Optimizer>,
) -> Result<Progress> {
    let file = weights::open(path)?;
    let progress = progress_of(&file, path)?;
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, variable) in &mut variables {
        let value = read_variable(&file, path, name, &variable.size())?;
        no_grad(|| variable.copy_(&value));
    }
    refuse_unknown(&file, path, &variables)?;
    if let Some(optimizer) = optimizer {
        let mut state = HashMap::new();
        for name in names(&file).filter_map(|name| name.strip_prefix(OPTIMIZER_PREFIX)) {
            state.insert(name.to_owned(), file.read(&format!("{OPTIMIZER_PREFIX}{name}"))?);
        }
        optimizer
            .load_state(state)
            .with_context(|| format!("cannot resume from {}", path.display()))?;
    }
    Ok(progress)
}

fn read_variable(file: &WeightsFile, path: &Path, name: &str, shape: &[i64]) -> Result<Tensor> {
    let shown = path.display();
    if file.entry(name).is_none() {
        return Err(Error::weights(format!(
            "checkpoint {shown} lacks `{name}`, which the model of this config has"
        ))
        .into());
    }
    let value = file.read(name)?;
    if value.size() != shape {
        return Err(Error::weights(format!(
            "checkpoint {shown}: `{name}` has shape {:?}, the model of this config needs {shape:?}",
            value.size()
        ))
        .into());
    }
    Ok(value)
}

fn refuse_unknown(file: &WeightsFile, path: &Path, variables: &[(String, Tensor)]) -> Result<()> {
    let known = |name: &str| variables.binary_search_by(|(n, _)| n.as_str().cmp(name)).is_ok();
    match names(file).find(|n| !n.starts_with(OPTIMIZER_PREFIX) && !known(n)) {
        None => Ok(()),
        Some(name) => Err(Error::weights(format!(
            "checkpoint {} holds `{name}`, which the model of this config has no place for",
            path.display()
        ))
        .into()),
    }
}

fn names(file: &WeightsFile) -> impl Iterator<Item = &str> {
    file.entries().iter().map(|entry| entry.name.as_str())
}
