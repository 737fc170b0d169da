//! The ranking: a forest plot, all figures, and how stable the ranks are.

use maud::{Markup, html};
use sonotune_base::words::{counted, percent};
use sonotune_report::document::scrolled;

use super::{
    super::{Answer, TaskAnswer},
    forest::forest,
    links, notes, table,
};

pub(super) fn ranking(answer: &Answer, task: &TaskAnswer) -> Markup {
    let (mut header, rows) = task.ranking();
    // The place and the names are one heading.
    header.splice(0..3, ["model".to_owned()]);
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .zip(&task.entries)
        .map(|(mut row, entry)| {
            let name = format!("{}. {}", row[0], entry.name());
            row.splice(0..3, [name]);
            row
        })
        .collect();
    html! {
        p.hint {
            (counted(task.num_images, "image")) " of " (counted(task.num_patients, "patient"))
            @if task.num_folds > 1 { ", each tested once in one of " (task.num_folds) " folds" }
            "; means over seeds, shares in %."
        }
        (forest(answer, task))
        h3 { "Figures" }
        (table(&header, &rows, 1))
        (links(task, &[("ranking", "md"), ("ranking", "tex"), ("figures", "csv")]))
        (seeds(task))
        (shares(answer, task))
        @if !task.notes.is_empty() { h3 { "To know" } (notes(&task.notes)) }
    }
}

/// The figure that ranks, seed by seed.
fn seeds(task: &TaskAnswer) -> Markup {
    let most = task.entries.iter().map(|entry| entry.seeds.len()).max().unwrap_or(0);
    if most < 2 {
        return html! {};
    }
    let header = ["model".to_owned(), format!("{} by seed", task.metric), "sd".to_owned()];
    let row = |entry: &super::super::Entry| {
        let figure = entry.figures.first();
        let values = figure.map(|figure| {
            let each = entry.seeds.iter().zip(&figure.by_seed);
            let each = each.map(|(seed, value)| format!("{} ({seed})", figure.number(*value)));
            each.collect::<Vec<_>>().join(", ")
        });
        let sd = figure.and_then(|figure| Some(figure.number(figure.sd_of_seeds?)));
        vec![entry.name(), values.unwrap_or_default(), sd.unwrap_or_default()]
    };
    let rows: Vec<Vec<String>> = task.entries.iter().map(row).collect();
    html! { details { summary { "Seed by seed" } (table(&header, &rows, 1)) } }
}

/// How often each entry has each rank in resamples.
fn shares(answer: &Answer, task: &TaskAnswer) -> Markup {
    if task.entries.len() < 2 {
        return html! {};
    }
    html! {
        h3 { "How stable the ranks are" }
        p.hint { "Share of " (answer.resamples) " samples of patients, drawn from these, in which a model has a rank, in %." }
        (scrolled(html! {
            table.confusion {
                thead { tr {
                    th.corner { "model" }
                    @for rank in 1..=task.entries.len() { th.n { (rank) } }
                } }
                tbody {
                    @for entry in &task.entries {
                        tr {
                            th scope="row" { (entry.name()) }
                            @for share in &entry.rank_shares {
                                td.right style=(format!("--share:{share:.3}")) { (percent(*share)) }
                            }
                        }
                    }
                }
            }
        }))
    }
}
