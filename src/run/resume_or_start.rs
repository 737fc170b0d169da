//! `--resume-or-start`: whether a run begins, goes on or is over already, as its folder says.
//!
//! For job schedulers, which run the same command line again after a failure.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::config::{self, Loaded};
use sonotune_base::{Error, fs::read_if_exists, words::listed};
use sonotune_dataset::Split;
use sonotune_engine::checkpoint;
use sonotune_run_folder::{Existing, RunFiles, RunStatus, Summary};
use sonotune_weights::keymap::conventions;

/// What the folder of a run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begun {
    /// No run: it starts.
    Nothing,
    /// A start that did not come to its first checkpoint: the run starts anew and replaces it.
    WithoutCheckpoint,
    /// A checkpoint, from which the run goes on.
    Checkpoint,
    /// All of it, with its summary.
    Everything,
}

impl Begun {
    /// How the run folder is opened; `None` if nothing is left to do.
    #[must_use]
    pub fn existing(self) -> Option<Existing> {
        match self {
            Self::Nothing => Some(Existing::Refuse),
            Self::WithoutCheckpoint => Some(Existing::Overwrite),
            Self::Checkpoint => Some(Existing::Resume),
            Self::Everything => None,
        }
    }
}

/// Looks into the run folder of a config. Nothing is changed. With several processes rank 0 looks, and the
/// others do as it says: a moment later the folder holds something else.
///
/// # Errors
/// Of kind config: if the folder holds a run of another config, or one that is neither complete nor can be
/// resumed. Otherwise errors from the file system.
pub fn begun(loaded: &Loaded) -> Result<Begun> {
    let run_dir = &loaded.config.run_dir;
    let files = RunFiles::of(run_dir);
    if !files.config().exists() {
        // A folder that is not a run's is refused when it is opened.
        let is_started = files.environment().exists();
        return Ok(if is_started { without_checkpoint(&files)? } else { Begun::Nothing });
    }
    require_same_config(loaded, &files)?;
    if !files.last().exists() {
        return without_checkpoint(&files);
    }
    let summary = read_if_exists(&files.summary())?;
    let summary: Option<Summary> = summary.and_then(|text| serde_json::from_str(&text).ok());
    let is_over = summary.is_some_and(|summary| summary.status == RunStatus::Finished);
    Ok(if is_over { Begun::Everything } else { Begun::Checkpoint })
}

/// The summary of a run that is over.
///
/// # Errors
/// If it cannot be read.
pub fn summary(run_dir: &Path) -> Result<Summary> {
    let path = RunFiles::of(run_dir).summary();
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// Never over what somebody may miss.
fn without_checkpoint(files: &RunFiles) -> Result<Begun> {
    let list = |folder: &Path| -> Result<Vec<String>> {
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = entries.with_context(|| format!("cannot list {}", folder.display()))?;
        Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    };
    let mut kept = list(&files.checkpoints())?;
    // Half-written ones are hidden.
    kept.retain(|name| !name.starts_with('.'));
    let scores = Split::ALL.map(|split| files.scores(split));
    let scores = scores.iter().filter(|path| path.exists()).filter_map(|path| path.file_name());
    kept.extend(scores.map(|name| name.to_string_lossy().into_owned()));
    if kept.is_empty() {
        return Ok(Begun::WithoutCheckpoint);
    }
    kept.sort();
    let run = files.folder().display();
    Err(Error::config(format!(
        "--resume-or-start: {run} has no {}, from which a run goes on, but it holds {}; resume from \
         one of its checkpoints (`--resume {run} --checkpoint STEP`), replace the run (`--overwrite`) \
         or choose another run_dir",
        checkpoint::LAST,
        listed(&kept, 5)
    ))
    .into())
}

fn require_same_config(loaded: &Loaded, files: &RunFiles) -> Result<()> {
    let path = files.config();
    let recorded = config::load(&path, &[])
        .with_context(|| format!("--resume-or-start cannot read {}", path.display()))?;
    let table = |loaded: &Loaded| -> Result<Table> {
        let mut table: Table = loaded.resolved.parse()?;
        // The folder may have been moved, or be named in another way.
        table.remove("run_dir");
        Ok(table)
    };
    let mut differences = Vec::new();
    compare("", &table(&recorded)?, &table(loaded)?, &mut differences);
    let decidable = decidable(loaded);
    differences.retain(|difference| !decidable.contains(&difference.key));
    if differences.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = differences.iter().map(Difference::words).collect();
    let run = files.folder().display();
    Err(Error::config(format!(
        "--resume-or-start: {run} holds a run of another config:\n  {}\nGive the config it was \
         started with, resume it with its own (`--resume {run}`), or choose another run_dir",
        lines.join("\n  ")
    ))
    .into())
}

/// Keys that the weights may have decided when the run was started, since the config leaves them open.
fn decidable(loaded: &Loaded) -> Vec<String> {
    let task = &loaded.config.task;
    let decided = conventions().flat_map(|convention| task.decided_by_weights(convention.name));
    let keys = decided.map(|(key, _)| format!("task.{key}"));
    if loaded.config.weights.is_some() { keys.collect() } else { Vec::new() }
}

struct Difference {
    key: String,
    recorded: Option<String>,
    given: Option<String>,
}

impl Difference {
    fn words(&self) -> String {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        format!(
            "{}: the run has {}, given is {}",
            self.key,
            value(&self.recorded),
            value(&self.given)
        )
    }
}

/// Collects the values that differ, tables key by key.
fn compare(prefix: &str, recorded: &Table, given: &Table, differences: &mut Vec<Difference>) {
    let keys = recorded.keys().chain(given.keys().filter(|key| !recorded.contains_key(*key)));
    for name in keys {
        let key = format!("{prefix}{name}");
        match (recorded.get(name), given.get(name)) {
            (Some(Value::Table(recorded)), Some(Value::Table(given))) => {
                compare(&format!("{key}."), recorded, given, differences);
            }
            (recorded, given) if recorded != given => differences.push(Difference {
                key,
                recorded: recorded.map(ToString::to_string),
                given: given.map(ToString::to_string),
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_key_by_key() {
        let recorded = "a = 1\nb = [1, 2]\n[c]\nd = \"x\"\ne = 2.0\n[g]\nh = 1\n".parse().unwrap();
        let given = "a = 1\nb = [1, 3]\n[c]\nd = \"y\"\ne = 2.0\n[i]\nj = 1\n".parse().unwrap();
        let mut differences = Vec::new();
        compare("", &recorded, &given, &mut differences);
        let words: Vec<_> = differences.iter().map(Difference::words).collect();
        assert_eq!(
            words,
            [
                "b: the run has [1, 2], given is [1, 3]",
                "c.d: the run has \"x\", given is \"y\"",
                "g: the run has { h = 1 }, given is not set",
                "i: the run has not set, given is { j = 1 }",
            ]
        );
    }
}
