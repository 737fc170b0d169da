//! Evaluations: metrics, tables, confusion matrix, best and worst pictures.

use maud::{Markup, html};
use sonotune_base::words;

use super::{
    document::scrolled,
    facts::table,
    kept::By,
    pictures::{self, score},
    ranking::Ranked,
    records::Evaluation,
};
use sonotune_metrics::{Confusion, Metric, Report};

/// Title of a table that says the same as [`Report::confusion`].
const CONFUSION: &str = "Confusion matrix";

/// Everything of one evaluation.
pub(super) fn evaluation(evaluation: &Evaluation) -> Markup {
    let shown = &evaluation.shown;
    let by = match evaluation.by {
        By::Training => "evaluated while training",
        By::Eval => "by sonotune eval",
    };
    let tables = shown
        .report
        .tables
        .iter()
        .filter(|t| shown.report.confusion.is_none() || t.title != CONFUSION);
    html! {
        section.evaluation {
            h2 { "Split " (shown.split) ", " (by) }
            p {
                (shown.counts.num_images) " images, weights after step " (shown.step)
                @if let Some(path) = &evaluation.checkpoint { ": " code { (path.display()) } }
                @if evaluation.averaged { " (moving average)" }
            }
            (cards(&shown.report.headline()))
            (notes(&shown.report.notes))
            @for of in tables { (table(of)) }
            @if let Some(of) = &shown.report.confusion { (confusion(of)) }
            @if let Some(ranked) = &shown.ranked { (worst_and_best(ranked)) }
            (rest(&shown.report))
        }
    }
}

/// Metrics as large numbers.
pub(super) fn cards(metrics: &[&Metric]) -> Markup {
    html! {
        ul.cards {
            @for metric in metrics { li { b { (score(metric.value)) } span { (metric.name) } } }
        }
    }
}

/// What a reader must know about the figures.
pub(super) fn notes(notes: &[String]) -> Markup {
    html! {
        @if !notes.is_empty() { ul.items.notes { @for note in notes { li { (note) } } } }
    }
}

/// All metrics and what they depend on.
fn rest(report: &Report) -> Markup {
    html! {
        details {
            summary { "All metrics: " (report.metrics.len()) }
            (scrolled(html! { table { tbody {
                @for metric in &report.metrics { tr { th { (metric.name) } td.n { (score(metric.value)) } } }
            } } }))
        }
        @if !report.conditions.is_empty() {
            details {
                summary { "What the scores depend on" }
                dl { @for (key, value) in &report.conditions { dt { (key) } dd { (value) } } }
            }
        }
    }
}

/// Counts shaded by their share of the row: how often a category was taken for which.
fn confusion(confusion: &Confusion) -> Markup {
    html! {
        h3 { (CONFUSION) }
        (scrolled(html! {
            table.confusion {
                thead {
                    tr { th.corner { "truth ↓ predicted →" }
                        @for name in &confusion.names { th.turned { span { (name) } } } }
                }
                tbody {
                    @for (row, (name, counts)) in confusion.names.iter().zip(&confusion.counts).enumerate() {
                        @let all: u64 = counts.iter().sum();
                        tr { th { (name) }
                            @for (column, count) in counts.iter().enumerate() {
                                @let share = *count as f64 / all.max(1) as f64;
                                td class=(if row == column { "right" } else { "wrong" })
                                    style=(format!("--share:{share:.3}"))
                                    title=(format!("{} of {name}", words::share(share, 1))) { (count) }
                            }
                        }
                    }
                }
            }
        }))
        p.hint { "Shading: share of the row. Green is right, orange is wrong." }
    }
}

fn worst_and_best(ranked: &Ranked) -> Markup {
    html! {
        h3 { "Worst and best images" }
        p.hint {
            "Ranked by " (ranked.score) ", " (ranked.num_images) " images with such a score. Objects: predictions in "
            "colour with their score, the outlines of the annotation in white."
        }
        h4 { "Worst" }
        (pictures::row(&ranked.worst, &ranked.score))
        h4 { "Best" }
        (pictures::row(&ranked.best, &ranked.score))
    }
}
