//! `study.html`: the answer on one page that needs nothing else.
//!
//! It is a function of the answer and of the runs' logs, and has no script and no other files, like the page of
//! a run. It names the best only as far as the data decide.

mod checklist;
mod details;
mod forest;
mod methods;
mod pairs;
mod ranking;
mod runs;
mod worst;

use std::path::Path;

use maud::{Markup, html};
use sonotune_base::words::counted;
use sonotune_report::document::{Document, scrolled, section};

use super::{Answer, Decision, TaskAnswer};
use crate::folder::StudyFiles;

/// The page of an answer.
pub(super) fn html(answer: &Answer, files: &StudyFiles) -> String {
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let folder = &answer.study_dir;
    let name = last(folder)
        .or_else(|| last(&folder.canonicalize().ok()?))
        .unwrap_or_else(|| folder.display().to_string());
    let document = Document { name: &name, kind: "Sonotune study", folder };
    document.page(lead(answer), sections(answer, files)).into_string()
}

impl Answer {
    /// The figure that ranks the entries of a task, with their intervals on one axis, for another page.
    #[must_use]
    pub fn forest(&self, task: &TaskAnswer) -> Markup {
        forest::forest(self, task)
    }
}

fn sections(answer: &Answer, files: &StudyFiles) -> Markup {
    html! {
        @for task in &answer.tasks {
            (section(&id(task, "ranking"), &titled(task, "Ranking"), ranking::ranking(answer, task)))
            @if !task.comparisons.is_empty() {
                (section(&id(task, "pairs"), &titled(task, "Who is better than whom"), html! {
                    (pairs::pairs(answer, task))
                    (details::single_image_tests(task))
                }))
            }
            (section(&id(task, "curves"), &titled(task, "Learning curves"), runs::curves(task, files)))
            @if !task.subgroups.is_empty() {
                (section(&id(task, "subgroups"), &titled(task, "Subgroups"), details::subgroups(answer, task)))
            }
            @if !task.calibration.is_empty() {
                (section(&id(task, "calibration"), &titled(task, "Calibration"), details::calibration(task)))
            }
            (section(&id(task, "worst"), &titled(task, "Worst images"), worst::worst(task, files)))
            (section(&id(task, "cost"), &titled(task, "Cost"), html! {
                (runs::cost(task))
                (runs::pages(task, files))
            }))
        }
        (section("failures", "Failures", failures(answer)))
        (section("methods", "Methods", methods::methods(answer)))
        (section("checklists", "Checklists", checklist::checklists(answer)))
        (section("notes", "Notes", notes(&answer.notes)))
    }
}

/// How far the study is, and the answer to its question.
fn lead(answer: &Answer) -> Markup {
    let (failed, missing) = (answer.failures.len(), answer.missing.len());
    html! {
        p.status {
            @if missing > 0 { b.warn { (counted(missing, "run")) " to come: this is the state so far" } }
            @if failed > 0 { " " b.bad { (counted(failed, "run")) " failed" } }
            @if missing == 0 && failed == 0 { b.good { "complete" } }
        }
        @if answer.tasks.is_empty() {
            p.none { "No model is trained and scored on every fold yet." }
        }
        @for task in &answer.tasks { (verdict(task)) }
    }
}

fn verdict(task: &TaskAnswer) -> Markup {
    let class = match task.verdict.decision {
        Decision::Best => "good",
        Decision::BetterThanSome | Decision::Undecided => "warn",
        Decision::NothingToCompare => "",
    };
    html! {
        p class={ "verdict " (class) } {
            @if !task.task.is_empty() { b { (task.task) } ": " }
            (task.verdict.text)
        }
    }
}

fn failures(answer: &Answer) -> Markup {
    html! {
        @if answer.failures.is_empty() { p.none { "No run failed." } }
        @for failure in &answer.failures {
            h3 { (failure.title) }
            p.hint { "while running " code { "sonotune " (failure.verb) } "; it is in no table" }
            pre.error { (failure.message) }
        }
        @if !answer.missing.is_empty() {
            details {
                summary { (counted(answer.missing.len(), "run")) " not made yet" }
                (notes(&answer.missing))
            }
        }
    }
}

/// A list of sentences.
fn notes(notes: &[String]) -> Markup {
    html! {
        @if notes.is_empty() { p.none { "None." } }
        @else { ul.items { @for note in notes { li { (note) } } } }
    }
}

/// A table whose cells from column `words` on are numbers, the first of them headings.
fn table(header: &[String], rows: &[Vec<String>], words: usize) -> Markup {
    let class = |column: usize| (column >= words).then_some("n");
    scrolled(html! {
        table {
            thead { tr { @for (column, cell) in header.iter().enumerate() { th class=[class(column)] { (cell) } } } }
            tbody {
                @for row in rows {
                    tr {
                        @for (column, cell) in row.iter().enumerate() {
                            @if column == 0 { th scope="row" { (cell) } }
                            @else { td class=[class(column)] { (cell) } }
                        }
                    }
                }
            }
        }
    })
}

/// Links to the files of a table.
fn links(task: &TaskAnswer, files: &[(&str, &str)]) -> Markup {
    html! {
        p.hint {
            "The same as a file:"
            @for (name, end) in files {
                @let file = super::write::file_name(task, name, end);
                " " a href={ "tables/" (file) } { (file) }
            }
        }
    }
}

fn id(task: &TaskAnswer, part: &str) -> String {
    match crate::cells::slug(&task.task).as_str() {
        "" => part.to_owned(),
        task => format!("{task}-{part}"),
    }
}

fn titled(task: &TaskAnswer, title: &str) -> String {
    if task.task.is_empty() { title.to_owned() } else { format!("{title}: {}", task.task) }
}

/// `95 %`.
fn level(answer: &Answer) -> String {
    format!("{} %", sonotune_base::words::short(answer.level * 100.0))
}
