//! Opens the runs of an ensemble, and refuses those whose predictions cannot be averaged.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{
    model::{Model, ModelSource, Opened},
    predictor::averaging,
};
use crate::config::RunConfig;
use sonotune_base::{Error, names::quoted};
use sonotune_engine::device::Place;

/// The checkpoints of an ensemble; none for a model alone.
pub(super) fn checkpoints(first: &Opened<'_>, others: &[Opened<'_>]) -> Vec<PathBuf> {
    let first = Some(first).filter(|_| !others.is_empty());
    first.into_iter().chain(others).map(|opened| opened.path.clone()).collect()
}

/// The models of the runs beside the first of an ensemble, their best checkpoints or their last.
///
/// # Errors
/// Of kind config if two are of the same run, or predict something else than the first; of kind weights if a
/// checkpoint is absent, damaged or of another model.
pub(crate) fn open_others<'a>(
    first: (&RunConfig, &Opened<'_>),
    configs: &[&'a RunConfig],
    place: Place,
) -> Result<Vec<Opened<'a>>> {
    let (config, opened) = first;
    let mut all: Vec<Opened<'a>> = Vec::new();
    for &other in configs {
        let path = ModelSource::BestOrLast.resolve(other)?;
        let same = |known: &Path| known.canonicalize().ok() == path.canonicalize().ok();
        if same(&opened.path) || all.iter().any(|known| same(&known.path)) {
            let run = other.run_dir.display();
            return Err(Error::config(format!(
                "--ensemble: {run} is listed twice; its predictions would count double"
            ))
            .into());
        }
        require_same_question(config, other)?;
        let model = Model::open(other, place, &ModelSource::BestOrLast, &[])?;
        let names = |opened: &Opened<'_>| -> Vec<String> {
            opened.model.categories.iter().map(|category| category.name.clone()).collect()
        };
        let (ours, theirs) = (names(opened), names(&model));
        if ours != theirs {
            return Err(different(
                (config, other),
                &format!("categories, {} and {}", quoted(&ours), quoted(&theirs)),
            ));
        }
        all.push(model);
    }
    Ok(all)
}

/// Requires that the tasks of both configs can be averaged with each other.
fn require_same_question(first: &RunConfig, other: &RunConfig) -> Result<()> {
    let kind = |config: &RunConfig| config.task.typetag_name();
    if kind(first) != kind(other) {
        let tasks = format!("tasks, \"{}\" and \"{}\"", kind(first), kind(other));
        return Err(different((first, other), &tasks));
    }
    let rule = |config| averaging(config, "--ensemble").map(|averaging| averaging.rule());
    let (ours, theirs) = (rule(first)?, rule(other)?);
    if ours == theirs {
        return Ok(());
    }
    let message = format!(
        "options of [task], which would be averaged differently:\n  {ours}\n  {theirs}\nset these options to the same \
         values for all runs by KEY=VALUE"
    );
    Err(different((first, other), &message))
}

fn different((first, other): (&RunConfig, &RunConfig), what: &str) -> anyhow::Error {
    let (first, other) = (first.run_dir.display(), other.run_dir.display());
    Error::config(format!("--ensemble: {first} and {other} have different {what}")).into()
}
