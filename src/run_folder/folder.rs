//! The folder of a run while a training writes to it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    ops::Deref,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Environment, RunFiles,
    files::{
        CHECKPOINTS, CONFIG, DATA, ENVIRONMENT, EVENTS_PREFIX, LOG, METRICS, RANKS, REPORT,
        REPORT_DATA, SKIPPED, SUMMARY, WEIGHTS, is_score,
    },
    leftovers,
};
use sonotune_base::{
    Error,
    fs::{atomic_write, read_if_exists},
};

/// What to do if the folder is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// An error: nothing is ever overwritten by accident.
    Refuse,
    /// Removes the files of the earlier run and nothing else (`--overwrite`).
    Overwrite,
    /// Continues the run in the folder, which must be a run folder (`--resume`).
    Resume,
}

/// Folder of one run, locked against a second process while this value lives. Dereferences to its
/// [`RunFiles`].
#[derive(Debug)]
pub struct RunFolder {
    files: RunFiles,
    resumed: bool,
    left_alone: Vec<String>,
    /// `train.log`; the lock goes with the open file. `None` in the processes that write nothing but their
    /// own log.
    _lock: Option<Lock>,
}

impl RunFolder {
    /// Creates or opens the folder at `path`. An empty folder counts as absent.
    ///
    /// # Errors
    /// Of kind config, with the options there are: if the folder is not empty and `existing` refuses, if
    /// it is not a run folder and `existing` wants to overwrite or resume, or if another process writes
    /// to it. Otherwise errors from the file system.
    pub fn create(path: &Path, existing: Existing) -> Result<Self> {
        let shown = path.display();
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(Error::config(format!(
                    "run_dir: {shown} is a file; choose another run_dir"
                ))
                .into());
            }
            _ => {}
        }
        let run = Contents::read(path)?;
        match existing {
            Existing::Resume => run.must_be_a_run(path, "resume")?,
            Existing::Overwrite if !run.vacant => run.must_be_a_run(path, "overwrite")?,
            Existing::Refuse if !run.vacant => return Err(run.refusal(path).into()),
            _ => {}
        }
        fs::create_dir_all(path.join(CHECKPOINTS))
            .with_context(|| format!("cannot create the run folder {shown}"))?;
        let lock = lock(path)?;
        let mut left_alone = Vec::new();
        if existing == Existing::Overwrite {
            left_alone = remove_run(path, &run.names)?;
            lock.file.set_len(0).with_context(|| format!("cannot empty {shown}/{LOG}"))?;
        }
        if lock.is_held {
            leftovers::remove(path)?;
        }
        if existing == Existing::Resume {
            // What it says about the end is no longer true.
            drop(fs::remove_file(path.join(SUMMARY)));
        } else {
            // At once, so that a run stopped this early is recognised as one.
            let marker = json!({ "sonotune": env!("CARGO_PKG_VERSION") });
            write_json(&path.join(ENVIRONMENT), &marker)?;
        }
        let resumed = existing == Existing::Resume;
        Ok(Self { files: RunFiles::of(path), resumed, left_alone, _lock: Some(lock) })
    }

    /// The folder at `path` for a process other than the first, which has created it and writes to it.
    ///
    /// # Errors
    /// If it is not there: the machines of a run must share its folder.
    pub fn join(path: &Path, existing: Existing) -> Result<Self> {
        if !path.join(ENVIRONMENT).exists() {
            return Err(Error::config(format!(
                "run_dir: {} is not there for this process, although rank 0 has created it: choose a run_dir \
                 on a file system that all machines share",
                path.display()
            ))
            .into());
        }
        let resumed = existing == Existing::Resume;
        Ok(Self { files: RunFiles::of(path), resumed, left_alone: Vec::new(), _lock: None })
    }

    /// As it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder()
    }

    /// Whether it continues an earlier run.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Names in the folder that overwriting did not touch, since no run writes them.
    #[must_use]
    pub fn left_alone(&self) -> &[String] {
        &self.left_alone
    }

    /// Writes `config.toml`.
    ///
    /// # Errors
    /// Errors from the file system.
    pub fn write_config(&self, resolved_toml: &str) -> Result<()> {
        atomic_write(&self.config(), resolved_toml.as_bytes())
    }

    /// Writes `env.json`; on resume, adds to the list `resumed` in it, so that every part of a run
    /// keeps its record.
    ///
    /// # Errors
    /// Errors from the file system.
    pub fn write_environment(&self, environment: &Environment) -> Result<()> {
        let path = self.environment();
        let first = read_if_exists(&path)?.map(|text| serde_json::from_str(&text));
        let Some(Ok(Value::Object(mut first))) = first.filter(|_| self.resumed) else {
            return write_json(&path, environment);
        };
        let value = serde_json::to_value(environment)?;
        match first.entry("resumed").or_insert_with(|| json!([])) {
            Value::Array(resumed) => resumed.push(value),
            other => *other = json!([value]),
        }
        write_json(&path, &first)
    }

    /// Writes `weights.json`, the report of loading.
    ///
    /// # Errors
    /// Errors from the file system.
    pub fn write_weights_report(&self, report: &impl Serialize) -> Result<()> {
        write_json(&self.weights(), report)
    }
}

impl Deref for RunFolder {
    type Target = RunFiles;

    fn deref(&self) -> &RunFiles {
        &self.files
    }
}

/// Writes a value as JSON for people and programs to read, atomically.
///
/// # Errors
/// Errors from the file system.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    atomic_write(path, text.as_bytes())
}

#[derive(Debug)]
struct Lock {
    file: File,
    /// Whether it keeps others out: some network file systems do not support locks, and there a run goes
    /// ahead unlocked rather than not at all.
    is_held: bool,
}

fn lock(path: &Path) -> Result<Lock> {
    let log = path.join(LOG);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::config(format!(
            "run_dir: another process is writing to {}; wait for it or choose another run_dir",
            path.display()
        ))
        .into()),
        Ok(()) => Ok(Lock { file, is_held: true }),
        Err(TryLockError::Error(_)) => Ok(Lock { file, is_held: false }),
    }
}

/// The contents of a folder that may be a run folder.
struct Contents {
    names: Vec<String>,
    /// Nothing that anybody would miss.
    vacant: bool,
    is_run: bool,
    start_time: Option<String>,
}

impl Contents {
    fn read(path: &Path) -> Result<Self> {
        let mut names = Vec::new();
        if path.exists() {
            let list = || -> std::io::Result<Vec<String>> {
                fs::read_dir(path)?
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect()
            };
            names = list().with_context(|| format!("cannot list {}", path.display()))?;
            names.sort();
        }
        let environment = read_if_exists(&path.join(ENVIRONMENT)).unwrap_or_default();
        let environment: Value =
            environment.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        // A process that stopped between creating the folder and writing the marker left no more.
        let started = |name: &String| {
            name == CHECKPOINTS && fs::read_dir(path.join(name)).is_ok_and(|d| d.count() == 0)
                || name == LOG && fs::metadata(path.join(name)).is_ok_and(|m| m.len() == 0)
                || leftovers::is_leftover(name)
        };
        Ok(Self {
            vacant: names.iter().all(started),
            is_run: environment.get("sonotune").is_some(),
            start_time: environment.get("start_time").and_then(Value::as_str).map(str::to_owned),
            names,
        })
    }

    fn refusal(&self, path: &Path) -> Error {
        let shown = path.display();
        if !self.is_run {
            return Error::config(format!(
                "run_dir: {shown} exists and is not a run folder (it holds {}); choose another \
                 run_dir",
                self.listing()
            ));
        }
        let start = self.start_time.as_deref().map(|t| format!(" started at {t}"));
        Error::config(format!(
            "run_dir: {shown} holds a run{} already ({}); choose another run_dir (`run_dir=…`), \
             continue it (`--resume {shown}`) or replace it (`--overwrite`)",
            start.unwrap_or_default(),
            self.progress(path)
        ))
    }

    fn must_be_a_run(&self, path: &Path, verb: &str) -> Result<()> {
        if self.is_run {
            return Ok(());
        }
        let shown = path.display();
        let found = match (path.exists(), self.vacant) {
            (false, _) => "does not exist".to_owned(),
            (true, true) => "is empty".to_owned(),
            (true, false) => format!("is not a run folder (it holds {})", self.listing()),
        };
        let remedy = match verb {
            "resume" => "leave out `--resume` to start a new run, or name the folder of one",
            _ => "nothing there was touched; choose another run_dir",
        };
        Err(Error::config(format!("run_dir: cannot {verb} {shown}: it {found}; {remedy}")).into())
    }

    fn listing(&self) -> String {
        sonotune_base::words::listed(&self.names, 5)
    }

    /// How far the run got, in words.
    fn progress(&self, path: &Path) -> String {
        let last_step = read_if_exists(&path.join(METRICS))
            .ok()
            .flatten()
            .and_then(|text| text.lines().filter_map(step_of_line).max());
        let checkpoints = fs::read_dir(path.join(CHECKPOINTS)).map_or(0, Iterator::count);
        match (last_step, checkpoints) {
            (None, 0) => "no step logged, no checkpoint".to_owned(),
            (None, n) => format!("checkpoints: {n}"),
            (Some(step), n) => format!("logged up to step {step}, checkpoints: {n}"),
        }
    }
}

/// Removes what a run writes; the names of the rest are returned.
fn remove_run(path: &Path, names: &[String]) -> Result<Vec<String>> {
    let mut rest = Vec::new();
    for name in names {
        let entry = path.join(name);
        let ours = [CONFIG, ENVIRONMENT, WEIGHTS, DATA, METRICS, SUMMARY, SKIPPED, REPORT]
            .contains(&name.as_str())
            || name.starts_with(EVENTS_PREFIX)
            || is_score(name)
            || name.starts_with('.') && name.ends_with(".tmp");
        let removed = if ours {
            fs::remove_file(&entry)
        } else if name == CHECKPOINTS {
            empty(&entry)
        } else if name == REPORT_DATA || name == RANKS {
            fs::remove_dir_all(&entry)
        } else {
            if name != LOG {
                rest.push(name.clone());
            }
            Ok(())
        };
        removed.with_context(|| format!("cannot remove {}", entry.display()))?;
    }
    Ok(rest)
}

/// The step that a line of `metrics.jsonl` is about, `None` if it is not one of ours.
fn step_of_line(line: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Step {
        step: u64,
    }
    serde_json::from_str::<Step>(line).ok().map(|s| s.step)
}

/// Removes everything in a folder, not the folder: it may be a link to a larger disk.
fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
