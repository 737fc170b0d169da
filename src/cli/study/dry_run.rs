//! `sonotune study --dry-run`.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use sonotune_base::{
    fs::atomic_write,
    words::{bytes, counted, duration},
};
use sonotune_metrics::table::grid;
use sonotune_run::config;
use sonotune_study::{Cell, Study, StudyFiles, make_folds};

use super::preflight::{missing_weights, refuse};

/// What a study would do and cost.
#[derive(Debug, Serialize)]
struct Plan {
    num_runs: usize,
    kinds: Vec<Kind>,
    /// Seconds of all runs, one after the other; absent if one of them could not be tried.
    seconds: Option<f64>,
    notes: Vec<String>,
}

/// Runs that differ in seed and fold alone.
#[derive(Debug, Serialize)]
struct Kind {
    task: String,
    model: String,
    strategy: String,
    num_runs: usize,
    steps: u64,
    /// Seconds of one run, with its evaluations; without its embeddings.
    seconds: Option<f64>,
    /// Seconds of the embeddings that its runs share.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_seconds: Option<f64>,
    memory_bytes: Option<u64>,
    /// The best checkpoint of one run.
    disk_bytes: Option<u64>,
    /// Why it could not be tried, or will not fit.
    fault: Option<String>,
}

impl Kind {
    fn all_seconds(&self) -> Option<f64> {
        Some(self.seconds? * self.num_runs as f64 + self.embedding_seconds.unwrap_or(0.0))
    }
}

pub(super) fn run(study: &Study, json: bool) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot create a temporary folder")?;
    let plan = plan(study, scratch.path())?;
    crate::present(json, &plan, print)?;
    let faults: Vec<String> = plan.kinds.iter().filter_map(|kind| kind.fault.clone()).collect();
    refuse(&faults)
}

fn plan(study: &Study, scratch: &Path) -> Result<Plan> {
    let folds = study.config.folds.as_ref();
    let folds = folds.map(|folds| make_folds(folds, &scratch.join("folds"))).transpose()?;
    let cells = study.cells(folds.as_ref())?;
    let mut firsts: Vec<(&Cell, usize)> = Vec::new();
    for cell in &cells {
        match firsts.iter_mut().find(|(first, _)| first.is_repeat_of(cell)) {
            Some((_, count)) => *count += 1,
            None => firsts.push((cell, 1)),
        }
    }
    let kinds: Vec<Kind> = firsts
        .into_iter()
        .map(|(cell, count)| kind(cell, count, scratch))
        .collect::<Result<_>>()?;
    let seconds = kinds.iter().map(Kind::all_seconds).sum();
    let notes = folds.map(|folds| folds.notes).unwrap_or_default();
    Ok(Plan { num_runs: cells.len(), kinds, seconds, notes })
}

/// Tries the first of several repeats.
fn kind(cell: &Cell, num_runs: usize, scratch: &Path) -> Result<Kind> {
    let Cell { task, model, strategy, .. } = cell.clone();
    let mut kind = Kind {
        task,
        model,
        strategy,
        num_runs,
        steps: 0,
        seconds: None,
        embedding_seconds: None,
        memory_bytes: None,
        disk_bytes: None,
        fault: None,
    };
    let loaded = match config::load_layers(&cell.layers, &cell.overrides) {
        Ok(loaded) => loaded,
        Err(error) => {
            kind.fault = Some(format!("{}: {error:#}", cell.title()));
            return Ok(kind);
        }
    };
    kind.steps = loaded.config.train.max_steps;
    if let Some(fault) = missing_weights(cell, &loaded).into_iter().next() {
        kind.fault = Some(fault);
        return Ok(kind);
    }
    let file = StudyFiles::of(scratch).cell(&cell.name);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    atomic_write(&file, loaded.resolved.as_bytes())?;
    let program = std::env::current_exe().context("cannot find this program to start it again")?;
    eprintln!("trying {}", cell.title());
    let mut command = Command::new(program);
    let output = command.arg("train").arg(&file).args(["--dry-run", "--json"]).output()?;
    let report: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    if let Some(report) = &report {
        let bytes = |path: &str| report.pointer(path).and_then(Value::as_u64);
        let number = |path: &str| report.pointer(path).and_then(Value::as_f64);
        let embeddings = number("/embeddings/num_images")
            .zip(number("/embeddings/seconds_per_image"))
            .map(|(images, seconds)| images * seconds);
        kind.seconds = number("/total_seconds").map(|all| all - embeddings.unwrap_or(0.0));
        kind.embedding_seconds = embeddings;
        kind.memory_bytes = bytes("/memory/peak_bytes");
        kind.disk_bytes = bytes("/weights_bytes");
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let error = said.rfind("error: ").map_or(&*said, |at| &said[at + "error: ".len()..]);
        kind.fault = Some(format!("{}: {}", cell.title(), error.trim()));
    }
    Ok(kind)
}

fn print(plan: &Plan) {
    let header = ["task", "model", "strategy", "runs", "steps", "time a run", "memory", ""];
    let row = |kind: &Kind| {
        vec![
            kind.task.clone(),
            kind.model.clone(),
            kind.strategy.clone(),
            kind.num_runs.to_string(),
            kind.steps.to_string(),
            kind.seconds.map_or("?".to_owned(), duration),
            kind.memory_bytes.map_or("?".to_owned(), bytes),
            if kind.fault.is_some() { "cannot run".to_owned() } else { String::new() },
        ]
    };
    let header: Vec<String> = header.map(str::to_owned).into();
    print!("{}", grid(&header, plan.kinds.iter().map(row).collect()));
    for note in &plan.notes {
        println!("note: {note}");
    }
    let embeddings: f64 = plan.kinds.iter().filter_map(|kind| kind.embedding_seconds).sum();
    if embeddings > 0.0 {
        let time = duration(embeddings);
        println!(
            "note: embeddings take {time} in all, if the runs of a line have the same weights; a random start \
             needs them once per seed"
        );
    }
    let time = plan.seconds.map_or("unknown time".to_owned(), duration);
    let disk = plan.kinds.iter().map(|kind| Some(kind.disk_bytes? * kind.num_runs as u64));
    let disk = disk
        .sum::<Option<u64>>()
        .map_or(String::new(), |disk| format!("; their best checkpoints take {}", bytes(disk)));
    println!("{}: {time} one after the other{disk}", counted(plan.num_runs, "run"));
}
