//! Reading checkpoints back.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result};
use tch::{Tensor, nn, no_grad};

use super::{EMA_PREFIX, HEADER_KEY, OPTIMIZER_PREFIX, Progress};
use crate::optim::{Ema, Optimizer};
use sonotune_base::Error;
use sonotune_weights as weights;
use sonotune_weights::WeightsFile;

/// Reads how far the run of a checkpoint had come.
///
/// # Errors
/// An error of kind weights if it is not a checkpoint of a run.
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

/// What [`load_model`] loaded.
#[derive(Debug)]
pub struct Restored {
    pub progress: Progress,
    /// Whether the weights are a moving average.
    pub averaged: bool,
}

/// Loads a checkpoint's model into all variables, for evaluation and prediction: the moving average if
/// there is one.
///
/// # Errors
/// An error of kind weights if the file is not a checkpoint, or belongs to another model; names the
/// first variable that differs.
pub fn load_model(path: &Path, vs: &nn::VarStore) -> Result<Restored> {
    let file = weights::open(path)?;
    let progress = progress_of(&file, path)?;
    let has_average = names(&file).any(|name| name.starts_with(EMA_PREFIX));
    fill(&file, path, vs, |name| {
        let average = format!("{EMA_PREFIX}{name}");
        if file.entry(&average).is_some() { average } else { name.to_owned() }
    })?;
    let averaged = has_average || progress.averaged;
    Ok(Restored { progress, averaged })
}

/// Loads a checkpoint's values into the model, the optimiser and the moving average: the run continues
/// as if it had never stopped.
///
/// # Errors
/// Same errors as [`load_model`]; also when the file holds only weights, or the state of another
/// optimiser, or an average although none is wanted, or the other way round.
pub fn resume(
    path: &Path,
    vs: &nn::VarStore,
    optimizer: &mut Optimizer,
    ema: Option<&mut Ema>,
) -> Result<Progress> {
    let file = weights::open(path)?;
    let progress = progress_of(&file, path)?;
    let shown = path.display();
    if progress.averaged {
        return Err(Error::weights(format!(
            "cannot resume from {shown}: it holds the moving average of the weights, not the \
             weights themselves nor the optimizer's state"
        ))
        .into());
    }
    fill(&file, path, vs, str::to_owned)?;
    let context = || format!("cannot resume from {shown}");
    optimizer.load_state(part(&file, OPTIMIZER_PREFIX)?).with_context(context)?;
    let averages = part(&file, EMA_PREFIX)?;
    match ema {
        Some(ema) => ema.load_state(averages).with_context(context)?,
        None if averages.is_empty() => {}
        None => {
            return Err(Error::weights(format!(
                "cannot resume from {shown}: it holds a moving average of the weights, but \
                 [train.ema] is left out"
            ))
            .into());
        }
    }
    Ok(progress)
}

/// Fills every variable with the tensor that `name_in_file` gives for it.
fn fill(
    file: &WeightsFile,
    path: &Path,
    vs: &nn::VarStore,
    name_in_file: impl Fn(&str) -> String,
) -> Result<()> {
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, variable) in &mut variables {
        let value = read_variable(file, path, &name_in_file(name), &variable.size())?;
        no_grad(|| variable.copy_(&value));
    }
    refuse_unknown(file, path, &variables)
}

/// The tensors under a prefix, by their names without it.
fn part(file: &WeightsFile, prefix: &str) -> Result<HashMap<String, Tensor>> {
    let names = names(file).filter_map(|name| name.strip_prefix(prefix));
    names.map(|name| Ok((name.to_owned(), file.read(&format!("{prefix}{name}"))?))).collect()
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
    if let Some(found) = weights::not_finite(&value, value.kind(), 0)? {
        return Err(Error::weights(format!(
            "checkpoint {shown}: `{name}` holds {found}; use another checkpoint of the run"
        ))
        .into());
    }
    Ok(value)
}

fn refuse_unknown(file: &WeightsFile, path: &Path, variables: &[(String, Tensor)]) -> Result<()> {
    let known = |name: &str| variables.binary_search_by(|(n, _)| n.as_str().cmp(name)).is_ok();
    let is_state = |name: &str| [OPTIMIZER_PREFIX, EMA_PREFIX].iter().any(|p| name.starts_with(p));
    match names(file).find(|n| !is_state(n) && !known(n)) {
        None => Ok(()),
        Some(name) => Err(Error::weights(format!(
            "checkpoint {} holds `{name}`, which the model of this config does not have",
            path.display()
        ))
        .into()),
    }
}

fn names(file: &WeightsFile) -> impl Iterator<Item = &str> {
    file.entries().iter().map(|entry| entry.name.as_str())
}
