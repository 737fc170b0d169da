//! Where a run comes from: data, environment, config.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::{document::scrolled, records::Records};
use sonotune_dataset::Statistics;
use sonotune_metrics::Table;

/// Entries of a list that are shown; the rest are only counted.
pub(super) const SHOWN: usize = 100;

/// Counts of every split that was used.
pub(super) fn data(run: &Records) -> Markup {
    let evaluated =
        run.evaluations.iter().filter(|e| !run.counts.iter().any(|c| c.split == e.shown.split));
    let splits: Vec<(String, &Statistics)> = run
        .counts
        .iter()
        .map(|c| (c.split.to_string(), &c.counts))
        .chain(evaluated.map(|e| (e.shown.split.to_string(), &e.shown.counts)))
        .collect();
    if splits.is_empty() {
        return html! { p.none { "The run kept no counts of its data." } };
    }
    html! {
        (scrolled(html! {
            table {
                thead { tr { th { "split" } th.n { "images" } th.n { "objects" } th.n { "crowds" }
                    th.n { "without objects" } th { "sizes" } } }
                tbody {
                    @for (split, counts) in &splits {
                        tr { th { (split) } td.n { (counts.num_images) } td.n { (counts.num_objects) }
                            td.n { (counts.num_crowds) } td.n { (counts.images_without_objects) }
                            td { (sizes(counts)) } }
                    }
                }
            }
        }))
        (categories(&splits))
        dl {
            @for (split, counts) in &splits {
                dt { (split) }
                dd {
                    code { (counts.source.display()) }
                    @if let Some(sha256) = &counts.source_sha256 { br; "SHA-256 " code { (sha256) } }
                    @for note in &counts.notes { br; (note) }
                }
            }
        }
    }
}

fn sizes(counts: &Statistics) -> String {
    counts.image_sizes.map_or_else(
        || "not in the annotations".to_owned(),
        |[(h, w), (height, width)]| {
            if (h, w) == (height, width) {
                format!("{h} × {w}")
            } else {
                format!("{h} × {w} to {height} × {width}")
            }
        },
    )
}

fn categories(splits: &[(String, &Statistics)]) -> Markup {
    let Some((_, first)) = splits.first() else { return html! {} };
    html! {
        h3 { "Categories" }
        (scrolled(html! {
            table {
                thead {
                    tr { th { "category" }
                        @for (split, _) in splits { th.n { (split) " images" } th.n { (split) " objects" } } }
                }
                tbody {
                    @for (index, category) in first.categories.iter().enumerate() {
                        tr { th { (category.name) }
                            @for (_, counts) in splits {
                                @match counts.categories.get(index) {
                                    Some(c) => { td.n { (c.num_images) } td.n { (c.num_objects) } }
                                    None => { td.n { "–" } td.n { "–" } }
                                }
                            }
                        }
                    }
                }
            }
        }))
        p.hint { "Images: those that carry the category as a label of the whole image." }
    }
}

/// The machine and program of the run and of each of its parts.
pub(super) fn environment(run: &Records) -> Markup {
    let Some(environment) = run.environment.as_ref().and_then(Value::as_object) else {
        return html! { p.none { "There is no env.json." } };
    };
    let resumed = environment.get("resumed").and_then(Value::as_array);
    html! {
        (definitions(environment.iter().filter(|(key, value)| *key != "resumed" && !value.is_null())))
        @for (index, part) in resumed.into_iter().flatten().filter_map(Value::as_object).enumerate() {
            @let changed = changed(environment, part);
            h3 { "Resumed, part " (index + 2) }
            (definitions(changed.iter().filter(|(_, value)| !value.is_null())))
        }
    }
}

/// What differs in a later part from the first.
fn changed(first: &Map<String, Value>, part: &Map<String, Value>) -> Map<String, Value> {
    let differs = |(key, value): &(&String, &Value)| first.get(*key) != Some(*value);
    part.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn definitions<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>) -> Markup {
    html! {
        dl { @for (key, value) in entries { dt { (words(key)) } dd { (plain(value)) } } }
    }
}

/// Images that could not be used, by split.
pub(super) fn skipped(run: &Records) -> Markup {
    let splits = run.skipped.as_ref().and_then(Value::as_object);
    let lists =
        splits.into_iter().flatten().filter_map(|(split, list)| Some((split, list.as_array()?)));
    html! {
        @for (split, list) in lists.filter(|(_, list)| !list.is_empty()) {
            h3 { "Skipped images of " (split) ": " (list.len()) }
            ul.items {
                @for image in list.iter().take(SHOWN) {
                    @let text = |key: &str| image.get(key).map(plain).unwrap_or_default();
                    li { code { (text("image")) } ": " (text("reason")) }
                }
                @if list.len() > SHOWN { li { "and " (list.len() - SHOWN) " more in skipped.json" } }
            }
        }
    }
}

/// The resolved config, folded.
pub(super) fn config(run: &Records) -> Markup {
    html! {
        details {
            summary { "config.toml, resolved: every default written out" }
            pre { (run.config_text.trim_end()) }
        }
    }
}

/// A table of a report, the first column of words, the others of numbers.
pub(super) fn table(table: &Table) -> Markup {
    let class = |column: usize| if column == 0 { "" } else { "n" };
    html! {
        h3 { (table.title) }
        (scrolled(html! {
            table {
                thead { tr { @for (i, cell) in table.header.iter().enumerate() { th class=(class(i)) { (cell) } } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (i, cell) in row.iter().enumerate() {
                                @if i == 0 { th { (cell) } } @else { td.n { (cell) } }
                            }
                        }
                    }
                }
            }
        }))
    }
}

/// A key as words.
pub(super) fn words(key: &str) -> String {
    key.replace('_', " ")
}

/// A value as text: no quotes around a string, a list or table on one line.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(list) if list.iter().all(|v| !v.is_array() && !v.is_object()) => {
            list.iter().map(plain).collect::<Vec<_>>().join(" ")
        }
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join("; "),
        Value::Object(map) => {
            let entries = map.iter().filter(|(_, value)| !value.is_null());
            entries
                .map(|(k, v)| format!("{} {}", words(k), plain(v)))
                .collect::<Vec<_>>()
                .join(", ")
        }
        other => other.to_string(),
    }
}
