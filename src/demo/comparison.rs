//! The study that compares both starts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sonotune_base::{Error, fs::atomic_write};
use sonotune_run_folder::RunFiles;
use sonotune_study::{Answer, Groups, Study};
use toml::{Table, Value};

use crate::{
    folder::DemoFolder,
    plan::{PRETRAINED, Plan, RANDOM, Task},
};

/// Writes a file for each seed, and one with all seeds, from which the answer is read.
pub(crate) fn write_files(plan: Plan, folder: &DemoFolder) -> Result<()> {
    for seed in 0..plan.seeds {
        write(plan, folder, &folder.study_of(seed), &[seed])?;
    }
    let seeds: Vec<u64> = (0..plan.seeds).collect();
    write(plan, folder, &folder.study(), &seeds)
}

fn write(plan: Plan, folder: &DemoFolder, file: &Path, seeds: &[u64]) -> Result<()> {
    let text = |path: &Path| Value::String(path.to_string_lossy().into_owned());
    let table = |entries: Vec<(&str, Value)>| -> Table {
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    let string = |text: &str| Value::String(text.to_owned());
    let mut dataset = Table::new();
    dataset.insert("root".into(), text(&folder.fine_tuning_data()));
    let task = |&task: &Task| {
        Value::Table(table(vec![
            ("name", string(task.name())),
            ("config", string(&format!("{}/{}", plan.configs(), task.config()))),
            ("metric", string(task.metric())),
            ("set", Value::Table(table(vec![("dataset", Value::Table(dataset.clone()))]))),
        ]))
    };
    let backbone = RunFiles::of(&folder.pretrained(seeds[0])).last();
    // The prompt decoder is not loaded; what a task adds to the backbone starts at random.
    let allowed = ["head.*", "neck.*", "panoptic_head.*"].map(string).to_vec();
    let weights = table(vec![("path", text(&backbone)), ("allow_missing", Value::Array(allowed))]);
    let models = vec![
        Value::Table(table(vec![("name", string(RANDOM))])),
        Value::Table(table(vec![
            ("name", string(PRETRAINED)),
            ("set", Value::Table(table(vec![("weights", Value::Table(weights))]))),
        ])),
    ];
    let seeds = seeds.iter().map(|&seed| i64::try_from(seed).map(Value::Integer));
    let mut study = table(vec![
        ("study_dir", text(folder.comparison().folder())),
        ("base", string("configs/base/demo.toml")),
        ("seeds", Value::Array(seeds.collect::<Result<_, _>>()?)),
        ("tasks", Value::Array(plan.tasks().iter().map(task).collect())),
        ("models", Value::Array(models)),
    ]);
    if let Some(steps) = plan.steps() {
        let steps = Value::Integer(i64::try_from(steps)?);
        study.insert("budget".into(), Value::Table(table(vec![("steps", steps)])));
        let few = Value::Table(table(vec![("resamples", Value::Integer(200))]));
        study.insert("statistics".into(), few);
    }
    let head = "# The comparison of the demo: each task from a random start and from the pretrained backbone.\n\n";
    let text = toml::to_string(&study).context("writing the study of the demo as TOML")?;
    atomic_write(file, format!("{head}{text}").as_bytes())
}

/// The answer over all seeds.
///
/// # Errors
/// If a run has no scores.
pub(crate) fn answer(folder: &DemoFolder) -> Result<Answer> {
    let study = Study::load(&folder.study(), &[])?;
    Answer::of(&study, &study.cells(None)?, &Groups::new(), Vec::new())
}

/// The run of seed 0 of a task from a start.
pub(crate) fn run(folder: &DemoFolder, task: Task, start: &str) -> Result<PathBuf> {
    runs(folder, task, start)?.into_iter().next().with_context(|| format!("no run of {start}"))
}

/// The runs of a task from a start, seed by seed.
pub(crate) fn runs(folder: &DemoFolder, task: Task, start: &str) -> Result<Vec<PathBuf>> {
    let file = folder.study();
    let cells = Study::load(&file, &[])?.cells(None)?;
    let of = cells.iter().filter(|cell| cell.task == task.name() && cell.model == start);
    let runs: Vec<PathBuf> = of.map(|cell| folder.comparison().run(&cell.name)).collect();
    if runs.is_empty() {
        return Err(Error::config(format!(
            "{} has no runs of {} from a {start}",
            file.display(),
            task.name()
        ))
        .into());
    }
    Ok(runs)
}
