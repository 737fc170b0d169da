//! What is checked for all runs of a study before the first one starts.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};

use sonotune_base::{
    Error,
    fs::{atomic_write, read_if_exists},
};
use sonotune_dataset::Split;
use sonotune_run::config::{self, Loaded};
use sonotune_study::{Cell, State, Study, leaks};

/// What is wrong is listed, up to this number.
const LISTED: usize = 10;

/// Checks the config of every cell and writes it to its file. Returns what a reader of the answer must know.
///
/// # Errors
/// Of kind config: if a config is refused, names weights that are not there, or differs from that of a run
/// that has begun; if models would be scored on different images; if a model would be tested on what it
/// learns from. One text lists all.
pub(super) fn prepare(study: &Study, cells: &[Cell]) -> Result<Vec<String>> {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    let mut loaded: Vec<(&Cell, Loaded)> = Vec::new();
    let mut faulty: Vec<&Cell> = Vec::new();
    for cell in cells {
        // Repeats would say the same again.
        if faulty.iter().any(|known| known.is_repeat_of(cell)) {
            continue;
        }
        let found = match config::load_layers(&cell.layers, &cell.overrides) {
            Ok(config) => {
                let mut found = missing_weights(cell, &config);
                found.extend(changed(study, cell, &config)?);
                loaded.push((cell, config));
                found
            }
            Err(error) => vec![format!("{}: {error:#}", cell.title())],
        };
        if !found.is_empty() {
            faulty.push(cell);
        }
        faults.extend(found);
    }
    refuse(&faults)?;
    notes.extend(same_images(&loaded)?);
    for (cell, config) in &loaded {
        let path = study.files.cell(&cell.name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        atomic_write(&path, config.resolved.as_bytes())?;
    }
    Ok(notes)
}

/// Refuses the study if anything is wrong.
pub(super) fn refuse(faults: &[String]) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let mut text = faults.iter().take(LISTED).cloned().collect::<Vec<_>>().join("\n");
    if faults.len() > LISTED {
        text += &format!("\nand {} more", faults.len() - LISTED);
    }
    Err(Error::config(text).into())
}

/// A run whose weights are absent would fail hours later.
pub(super) fn missing_weights(cell: &Cell, loaded: &Loaded) -> Vec<String> {
    let Some(weights) = &loaded.config.weights else { return Vec::new() };
    let parts = weights.parts.iter().map(|part| &part.path);
    let files = std::iter::once(&weights.path).chain(&weights.overlay).chain(parts);
    let missing = files.filter_map(|file| sonotune_weights::check_present(file).err());
    let fault = |error: anyhow::Error| {
        format!(
            "{}: {error:#}; docs/weights.md says where to download public checkpoints, and `skip` leaves \
             a model out",
            cell.title(),
        )
    };
    missing.map(fault).collect()
}

/// A run that has begun with another config is not this cell's.
fn changed(study: &Study, cell: &Cell, loaded: &Loaded) -> Result<Option<String>> {
    let known = read_if_exists(&study.files.cell(&cell.name))?;
    let is_begun = study.files.run(&cell.name).exists();
    let is_same = known.as_ref().is_none_or(|known| *known == loaded.resolved);
    if is_same || !is_begun {
        return Ok(None);
    }
    let done = match State::of(cell, &study.files)? {
        State::Done => "is finished",
        _ => "has begun",
    };
    Ok(Some(format!(
        "{}: the run {done} with another config, {}; restore that config, remove {}, or choose another study_dir",
        cell.title(),
        study.files.cell(&cell.name).display(),
        study.files.run(&cell.name).display()
    )))
}

/// Where the training, validation and test images of a run come from.
type Sources = [Option<PathBuf>; 3];

/// Requires that all cells of a task and fold read the same files, and that what is tested is neither learnt
/// from nor chosen on.
fn same_images(loaded: &[(&Cell, Loaded)]) -> Result<Vec<String>> {
    let mut known: BTreeMap<(&str, Option<usize>), (&Cell, Sources)> = BTreeMap::new();
    let mut notes = Vec::new();
    for (cell, config) in loaded {
        let dataset = config.config.dataset()?;
        let sources = Split::ALL.map(|split| dataset.source(split));
        if !dataset.splits().contains(&Split::Test) {
            return Err(Error::config(format!(
                "{}: the config names no test split, on which models are compared; set dataset.test, or let \
                 `[folds]` divide the images",
                cell.title()
            ))
            .into());
        }
        let key = (cell.task.as_str(), cell.fold);
        let Some((first, others)) = known.get(&key) else {
            notes.extend(leaks(&sources)?.into_iter().map(|note| match cell.task.as_str() {
                "" => note,
                task => format!("{task}: {note}"),
            }));
            known.insert(key, (cell, sources));
            continue;
        };
        if let Some(at) = (0..3).find(|&at| sources[at] != others[at]) {
            let shown = |source: &Option<PathBuf>| {
                source.as_ref().map_or("nothing".to_owned(), |path| path.display().to_string())
            };
            return Err(Error::config(format!(
                "{} and {} cannot be compared: their {} splits are {} and {}",
                first.title(),
                cell.title(),
                Split::ALL[at],
                shown(&others[at]),
                shown(&sources[at])
            ))
            .into());
        }
    }
    notes.dedup();
    Ok(notes)
}
