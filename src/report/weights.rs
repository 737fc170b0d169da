//! Which weights a run started from, according to its `weights.json`.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};
use serde_json::{Map, Value};
use sonotune_base::words::bytes;

use super::{
    document::scrolled,
    facts::{SHOWN, plain, words},
    records::Records,
};

/// Lists whose length is informative even if it is zero.
const ALWAYS_COUNTED: [&str; 3] = ["loaded", "missing", "unexpected"];

/// What was loaded from where.
pub(super) fn weights(run: &Records) -> Markup {
    let Some(weights) = &run.weights else {
        return html! { p.none { "There is no weights.json." } };
    };
    if let Some(seed) = weights.get("random_start") {
        return html! { p { "No pretrained weights: a random start with seed " (plain(seed)) "." } };
    }
    let parts = weights.get("parts").and_then(Value::as_array);
    html! {
        (weight_file(weights))
        @for part in parts.into_iter().flatten() { (weight_file(part)) }
    }
}

fn weight_file(file: &Value) -> Markup {
    let Some(file) = file.as_object() else { return html! { p { (plain(file)) } } };
    let lists = file.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_array()?)));
    let lists: Vec<_> = lists
        .filter(|(key, _)| !["parts", "variables"].contains(key))
        .filter(|(key, list)| ALWAYS_COUNTED.contains(key) || !list.is_empty())
        .collect();
    let variables = file.get("variables").map(plain).unwrap_or_default();
    html! {
        dl {
            dt { "file" } dd { code { (text(file, "path")) } (age_and_size(file)) }
            @if !variables.is_empty() { dt { "gives" } dd { code { (variables) } } }
            dt { "format" } dd { (format(file)) }
        }
        (scrolled(html! { table {
            thead { tr { @for (key, _) in &lists { th.n { (words(key)) } } } }
            tbody { tr { @for (_, list) in &lists { td.n { (list.len()) } } } }
        } }))
        @for (key, list) in lists.iter().filter(|(key, list)| *key != "loaded" && !list.is_empty()) {
            details {
                summary { (words(key)) ": " (list.len()) }
                ul.items {
                    @for item in list.iter().take(SHOWN) { li { (tensor(item)) } }
                    @if list.len() > SHOWN { li { "and " (list.len() - SHOWN) " more in weights.json" } }
                }
            }
        }
    }
}

fn text<'a>(file: &'a Map<String, Value>, key: &str) -> &'a str {
    file.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `, 340.2 MiB, of 2025-03-01T10:00:00Z`; what distinguishes this file from others of the same name.
fn age_and_size(file: &Map<String, Value>) -> String {
    let number = |key: &str| file.get(key).and_then(Value::as_u64);
    let size = number("file_bytes").map(|size| format!(", {}", bytes(size)));
    // A time that no calendar holds was not written by us.
    let time = number("modified_seconds").filter(|&seconds| seconds < 253_402_300_800);
    let time = time.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let time = time.map(|time| format!(", of {}", humantime::format_rfc3339_seconds(time)));
    size.unwrap_or_default() + &time.unwrap_or_default()
}

/// `torch zip, state dict at model; names of ultrasam, recognised by its keys, prefix module. taken off`.
fn format(file: &Map<String, Value>) -> String {
    let mut told = words(text(file, "container"));
    let state_dict = text(file, "state_dict");
    if !state_dict.is_empty() {
        told += &format!(", state dict at {state_dict}");
    }
    told += &format!("; names of {}", text(file, "convention"));
    told += match text(file, "by") {
        "keys" => ", recognised by its keys",
        "metadata" => ", named in its metadata",
        "request" => ", as asked for",
        _ => "",
    };
    match text(file, "prefix") {
        "" => told,
        prefix => format!("{told}, prefix {prefix} taken off"),
    }
}

/// A tensor by its name and shape; everything else about it as words.
fn tensor(item: &Value) -> Markup {
    let Some(item) = item.as_object() else { return html! { code { (plain(item)) } } };
    let name = ["variable", "key"].into_iter().find(|name| item.contains_key(*name));
    let rest = item.iter().filter(|(key, value)| Some(key.as_str()) != name && !value.is_null());
    let rest: Vec<String> = rest.map(|(key, value)| property(key, value)).collect();
    html! {
        @if let Some(name) = name { code { (text(item, name)) } " " }
        (rest.join(", "))
    }
}

fn property(key: &str, value: &Value) -> String {
    match (key, value) {
        ("shape", shape) => shape.to_string(),
        (key, Value::Array(_)) => format!("{} {value}", words(key)),
        (key, value) => format!("{} {}", words(key), plain(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_told_in_words() {
        let file = json!({
            "path": "weights/UltraSam.pth", "container": "torch_zip", "file_bytes": 12_604_588,
            "modified_seconds": 1_740_823_200, "state_dict": "state_dict", "convention": "ultrasam",
            "prefix": "module.", "by": "keys", "missing": [], "unexpected": [],
            "loaded": [{ "variable": "neck.0.weight", "key": "neck.0.weight" }],
            "allowed_missing": [{ "variable": "head.fc.weight", "shape": [3, 96] }],
            "resized": [{ "variable": "pos_embed", "from": [64, 64], "to": [16, 16], "how": "bicubic" }],
            "unused": (0..101).map(|i| json!({ "key": format!("k{i}"), "shape": [] })).collect::<Vec<_>>(),
        });
        let page = weight_file(&file).into_string();
        for expected in [
            "weights/UltraSam.pth</code>, 12.0 MiB, of 2025-03-01T10:00:00Z",
            "torch zip, state dict at state_dict; names of ultrasam, recognised by its keys, prefix module. taken off",
            "<code>head.fc.weight</code> [3,96]",
            "<code>pos_embed</code> from [64,64], how bicubic, to [16,16]",
            "unused: 101",
            "and 1 more in weights.json",
        ] {
            assert!(page.contains(expected), "{expected}\nin {page}");
        }
        assert!(!page.contains("k100<") && !page.contains("gives"), "{page}");
    }

    #[test]
    fn a_damaged_file_is_shown_as_far_as_it_goes() {
        for file in
            [json!({}), json!({ "modified_seconds": u64::MAX, "missing": [1, null] }), json!(3)]
        {
            let _ = weight_file(&file).into_string();
        }
    }
}
