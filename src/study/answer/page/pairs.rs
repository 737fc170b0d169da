//! Who is significantly better than whom.

use maud::{Markup, html};
use sonotune_base::words::short;
use sonotune_report::document::scrolled;

use super::{
    super::{Answer, TaskAnswer, text::p_value},
    links, table,
};

/// From this number of entries on, a matrix is easier to read than the list of pairs.
const MATRIX_FROM: usize = 4;

pub(super) fn pairs(answer: &Answer, task: &TaskAnswer) -> Markup {
    let (header, rows) = task.pairs();
    let alpha = short(1.0 - answer.level);
    html! {
        p.hint {
            "Difference of " (task.metric) " with its " (super::level(answer)) " interval. p: permutation test over \
             patients; a pair is significant if p after Holm's correction for all pairs is below " (alpha)
            " and the interval excludes 0."
        }
        @if task.entries.len() >= MATRIX_FROM { (matrix(task)) }
        (table(&header, &rows, 2))
        (links(task, &[("pairs", "md"), ("pairs", "tex")]))
        (detectable(task))
    }
}

/// A mark for each row that is significantly better than a column.
fn matrix(task: &TaskAnswer) -> Markup {
    let mark = |row: &str, column: &str| {
        let of = |first: &str, second: &str| {
            task.comparisons.iter().find(|pair| pair.first == first && pair.second == second)
        };
        match (of(row, column), of(column, row)) {
            (Some(pair), _) if pair.is_significant => ("▲", p_value(pair.p_adjusted)),
            (_, Some(pair)) if pair.is_significant => ("▽", p_value(pair.p_adjusted)),
            (Some(pair), _) | (_, Some(pair)) => ("·", p_value(pair.p_adjusted)),
            (None, None) => ("", String::new()),
        }
    };
    html! {
        (scrolled(html! {
            table.confusion {
                thead { tr {
                    th.corner { "" }
                    @for (place, entry) in task.entries.iter().enumerate() {
                        th.n title=(entry.name()) { (place + 1) }
                    }
                } }
                tbody {
                    @for (place, row) in task.entries.iter().enumerate() {
                        tr {
                            th scope="row" { (place + 1) ". " (row.name()) }
                            @for column in &task.entries {
                                @let (mark, p) = mark(&row.name(), &column.name());
                                td title=(p) { (mark) }
                            }
                        }
                    }
                }
            }
        }))
        p.hint { "▲ the row is significantly better than the column, ▽ significantly worse, · the data do not decide." }
    }
}

/// What these patients could have shown.
fn detectable(task: &TaskAnswer) -> Markup {
    let Some(figure) = task.entries.first().and_then(|entry| entry.figures.first()) else {
        return html! {};
    };
    let header = ["pair", "observed", "likely to show", "patients needed for the observed"];
    let rows: Vec<Vec<String>> = task
        .comparisons
        .iter()
        .map(|pair| {
            vec![
                format!("{} – {}", pair.first, pair.second),
                figure.number(pair.difference),
                if pair.detectable.is_finite() {
                    figure.number(pair.detectable)
                } else {
                    "–".to_owned()
                },
                pair.patients_needed.map_or("–".to_owned(), |needed| needed.to_string()),
            ]
        })
        .collect();
    html! {
        details {
            summary { "What this number of patients can show" }
            p.hint {
                "The smallest true difference that " (task.num_patients) " patients would show with probability 80 %, and \
                 the number of patients that would show one as large as was observed (normal approximation, at \
                 the level of Holm's first step)."
            }
            (table(&header.map(str::to_owned), &rows, 1))
        }
    }
}
