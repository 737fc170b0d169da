//! A forest plot: the ranking figure of every entry with its interval on one axis.

use maud::{Markup, html};
use sonotune_metrics::Direction;
use sonotune_report::{chart::colour, scale::Scale};

use super::super::{Answer, Entry, TaskAnswer};

/// Space at both ends in percent of the width, which holds half a label.
const MARGIN: f64 = 6.0;

/// Places are shares of the width, so that text keeps its size on a phone and on a screen.
pub(super) fn forest(answer: &Answer, task: &TaskAnswer) -> Markup {
    // Shares are written in percent.
    let factor = match task.best_is {
        Direction::Highest => 100.0,
        Direction::Lowest => 1.0,
    };
    let limits = task.entries.iter().filter_map(|entry| entry.figures.first()).flat_map(|figure| {
        let [low, high] = figure.interval.unwrap_or([figure.value; 2]);
        [figure.value, low, high]
    });
    let Some(scale) = Scale::of(limits.map(|value| value * factor), false) else {
        return html! { p.none { "No entry has a value of " (task.metric) "." } };
    };
    let at = |value: f64| format!("{:.2}%", MARGIN + scale.place(value) * (100.0 - 2.0 * MARGIN));
    let ticks = scale.ticks();
    let unit = if factor > 1.0 { " in %" } else { "" };
    html! {
        figure.chart.forest {
            figcaption {
                (task.metric) (unit)
                small { " with its " (super::level(answer)) " interval; " (better(task.best_is)) }
            }
            @for (index, entry) in task.entries.iter().enumerate() {
                (row(index, entry, &ticks, &|value| at(value * factor)))
            }
            svg aria-hidden="true" {
                line.axis x1=(format!("{MARGIN}%")) x2=(format!("{}%", 100.0 - MARGIN)) y1="1" y2="1" {}
                @for (value, label) in &ticks {
                    line.axis x1=(at(*value)) x2=(at(*value)) y1="1" y2="4" {}
                    text x=(at(*value)) y="14" text-anchor="middle" { (label) }
                }
            }
        }
    }
}

fn row(index: usize, entry: &Entry, ticks: &[(f64, String)], at: &dyn Fn(f64) -> String) -> Markup {
    let Some(figure) = entry.figures.first() else { return html! {} };
    let factor = if figure.best_is == Direction::Highest { 100.0 } else { 1.0 };
    html! {
        div.entry {
            span { (index + 1) ". " (entry.name()) }
            span { b { (figure.text()) } @if let Some(why) = &figure.no_interval { small { " (no interval: " (why) ")" } } }
        }
        svg role="img" aria-label=(format!("{}: {}", entry.name(), figure.text())) class=(colour(index)) {
            @for (value, _) in ticks {
                line.grid x1=(at(value / factor)) x2=(at(value / factor)) y1="0" y2="18" {}
            }
            @if let Some([low, high]) = figure.interval {
                line.interval x1=(at(low)) x2=(at(high)) y1="9" y2="9" {}
                @for end in [low, high] { line.interval x1=(at(end)) x2=(at(end)) y1="4" y2="14" {} }
            }
            @if figure.value.is_finite() { circle cx=(at(figure.value)) cy="9" r="4" {} }
        }
    }
}

fn better(best_is: Direction) -> &'static str {
    match best_is {
        Direction::Highest => "higher is better",
        Direction::Lowest => "lower is better",
    }
}
