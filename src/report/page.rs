//! The page: head, overview, and the order of the rest.

use std::path::Path;

use maud::{Markup, html};
use sonotune_base::words::{duration, shell_word};

use super::{
    chart::Chart,
    document::{Document, section},
    facts,
    pictures::score,
    records::Records,
    scores, weights,
};
use sonotune_dataset::Split;
use sonotune_run_folder::RunStatus;

/// The whole page.
pub(super) fn page(run: &Records) -> Markup {
    let name = name(&run.path);
    let sections = html! {
        (overview(run))
        (section("curves", "Curves", charts(run, &run.logged.learning())))
        @for evaluation in &run.evaluations { (scores::evaluation(evaluation)) }
        (section("time", "Steps", charts(run, &run.logged.machine())))
        (section("data", "Data", facts::data(run)))
        (section("weights", "Weights", weights::weights(run)))
        (section("environment", "Environment", facts::environment(run)))
        (section("warnings", "Warnings", warnings(run)))
        (section("config", "Config", facts::config(run)))
        (section("commands", "Commands", commands(run)))
    };
    Document { name: &name, kind: "Sonotune report", folder: &run.path }.page(status(run), sections)
}

/// The name of the folder itself.
pub(super) fn name(path: &Path) -> String {
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    last(path)
        .or_else(|| last(&path.canonicalize().ok()?))
        .unwrap_or_else(|| path.display().to_string())
}

fn status(run: &Records) -> Markup {
    let (class, text) = match &run.summary {
        Some(summary) => match summary.status {
            RunStatus::Finished => ("good", "finished"),
            RunStatus::Interrupted => ("warn", "interrupted: it can be resumed"),
            RunStatus::Failed => ("bad", "failed"),
        },
        None if run.running => ("warn", "still running: this is the state so far"),
        None => ("bad", "ended without a message: the process was killed, or the machine stopped"),
    };
    let error = run.summary.as_ref().and_then(|s| s.error.as_deref());
    html! {
        p class={ "status " (class) } { b { (text) } }
        @if let Some(error) = error { pre.error { (error) } }
    }
}

fn overview(run: &Records) -> Markup {
    let max_steps = run.config.get("train").and_then(|t| t.get("max_steps")?.as_integer());
    let backbone = run.config_value("backbone", "type");
    html! {
        section id="overview" {
            h2 { "Overview" }
            @if let Some(summary) = &run.summary {
                @let report = sonotune_metrics::Report { metrics: summary.metrics.clone(), ..Default::default() };
                (scores::cards(&report.headline()))
                (scores::notes(&summary.notes))
            }
            dl {
                dt { "task" } dd { (run.config_value("task", "type").unwrap_or("unknown")) }
                dt { "backbone" } dd { (backbone.unwrap_or("unknown")) }
                @if let Some(path) = run.config_value("weights", "path") { dt { "weights" } dd { code { (path) } } }
                @if let Some(summary) = &run.summary {
                    dt { "steps" }
                    dd {
                        (summary.steps) @if let Some(all) = max_steps { " of " (all) }
                        @if let Some(reason) = &summary.stopped_early { ": " (reason) }
                    }
                    dt { "time" } dd { (duration(summary.wall_seconds))
                        @if !run.resumed().is_empty() { ", of its last part" } }
                    @if let Some(best) = &summary.best {
                        dt { "best" }
                        dd { (best.metric) " " (score(best.value)) " after step " (best.step) }
                    }
                } @else if let Some(all) = max_steps {
                    dt { "steps" } dd { "of " (all) }
                }
                @if !run.resumed().is_empty() {
                    dt { "resumed" }
                    dd { "after step " (run.resumed().iter().map(u64::to_string).collect::<Vec<_>>().join(", ")) }
                }
                dt { "checkpoints" } dd { (checkpoints(&run.path)) }
            }
        }
    }
}

/// The folder and its files.
fn checkpoints(run: &Path) -> Markup {
    let folder = run.join("checkpoints");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|n| !n.starts_with('.')).collect();
    names.sort();
    html! {
        code { (folder.display()) }
        @if names.is_empty() { " (none yet)" } @else { ": " (names.join(", ")) }
    }
}

fn charts(run: &Records, charts: &[Chart]) -> Markup {
    let resumed = run.resumed();
    html! {
        @if charts.is_empty() { p.none { "Nothing was logged yet." } }
        div.charts { @for chart in charts { (chart.render(&resumed)) } }
        @if !resumed.is_empty() && !charts.is_empty() {
            p.hint { "Dashed vertical lines: the run was resumed there." }
        }
    }
}

fn warnings(run: &Records) -> Markup {
    const SHOWN: usize = 100;
    let faults = run.summary.as_ref().map(|summary| &summary.faults);
    let lost = faults.into_iter().flat_map(|faults| faults.lost_records.iter().cloned());
    let operators = faults.into_iter().flat_map(|faults| &faults.nondeterministic_operators);
    let operators = operators.map(|name| format!("not deterministic on this device: {name}"));
    let read = run.notes.iter().chain(&run.warnings).cloned();
    let all: Vec<String> = lost.chain(operators).chain(read).collect();
    html! {
        @if all.is_empty() { p.none { "None." } }
        @else {
            ul.items {
                @for warning in all.iter().take(SHOWN) { li { (warning) } }
                @if all.len() > SHOWN { li { "and " (all.len() - SHOWN) " more in train.log" } }
            }
        }
        (facts::skipped(run))
    }
}

fn commands(run: &Records) -> Markup {
    let folder = shell_word(&run.path.to_string_lossy());
    let predictions = shell_word(&run.path.join("predictions").to_string_lossy());
    let split = if run.has_test_split() { Split::Test } else { Split::Val };
    let mut lines = Vec::new();
    if !run.is_finished() {
        lines.push(("resume", format!("sonotune train --resume {folder}")));
    }
    lines.push(("evaluate", format!("sonotune eval --run {folder} --split {split}")));
    lines.push(("predict", format!("sonotune predict --run {folder} IMAGES --out {predictions}")));
    lines.push(("this page", format!("sonotune report --run {folder}")));
    lines.push(("curves", format!("tensorboard --logdir {folder}")));
    html! {
        @if let Some(folder) = run.environment.as_ref().and_then(|e| e.get("working_directory")?.as_str()) {
            p.hint { "Relative paths start at " code { (folder) } "." }
        }
        dl { @for (what, line) in &lines { dt { (what) } dd { code.command { (line) } } } }
    }
}
