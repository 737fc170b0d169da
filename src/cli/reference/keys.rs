//! The keys of a config, table by table.

use std::fmt::Write as _;

use serde_json::Value;
use sonotune_config::{DescribedKey, Schema, described_keys};

use super::markdown::{cell, linked, list_cell};

/// What is above the tables.
pub(super) struct Intro {
    title: &'static str,
    text: &'static str,
}

pub(super) const RUN: Intro = Intro {
    title: "Keys of a config",
    text: "Every key of the file that `sonotune train` reads, printed from the program: `sonotune config keys` lists them \
           with those of the plugins that are linked into yours, `sonotune config schema` prints them as a JSON Schema. \
           How files build on each other, and what the larger choices mean: [configuration](../configuration.md).",
};

pub(super) const STUDY: Intro = Intro {
    title: "Keys of a study",
    text: "Every key of the file that `sonotune study` reads, printed from the program. What a study is: \
           [studies](../studies.md).",
};

/// The page with all keys of `C`.
pub(super) fn page<C: Schema>(intro: &Intro) -> String {
    let keys = described_keys::<C>();
    let mut page = format!("# {}\n\n{}\n", intro.title, intro.text);
    let parents: Vec<&str> = keys.iter().filter_map(|key| parent(&key.key.path)).collect();
    let is_table = |key: &DescribedKey| parents.contains(&key.key.path.as_str());
    let top = keys.iter().filter(|key| parent(&key.key.path).is_none());
    let (tables, values): (Vec<_>, Vec<_>) = top.partition(|key| is_table(key));
    page.push_str("\n## Top level\n");
    rows(&mut page, &values, None);
    for table in tables {
        let name = &table.key.path;
        let within = format!("{name}.");
        let own: Vec<_> = keys.iter().filter(|key| key.key.path.starts_with(&within)).collect();
        section(&mut page, table, &own);
    }
    page
}

/// A table: its description, the keys that all types have, then those of each type.
fn section(page: &mut String, table: &DescribedKey, keys: &[&DescribedKey]) {
    let name = &table.key.path;
    let several = keys.iter().any(|key| key.key.path.starts_with(&format!("{name}.*")));
    let heading = if several { format!("`[[{name}]]`") } else { format!("`[{name}]`") };
    let required = if table.required { " Required." } else { "" };
    let _ = write!(page, "\n## {heading}\n\n{}{required}\n", linked(&table.description));
    let types = types(name, keys);
    let common: Vec<_> =
        keys.iter().zip(&types).filter(|(_, of)| of.is_none()).map(|(key, _)| *key).collect();
    if let Some(tag) = common.iter().find(|key| key.key.path == format!("{name}.type"))
        && types.iter().any(Option::is_some)
    {
        let _ = write!(page, "\n{}\n", linked(&tag.description));
    } else {
        rows(page, &common, None);
    }
    let mut done: Vec<&str> = Vec::new();
    for of in types.iter().flatten() {
        if done.contains(of) {
            continue;
        }
        done.push(of);
        let own: Vec<_> = keys
            .iter()
            .zip(&types)
            .filter(|(_, t)| *t == &Some(*of))
            .map(|(key, _)| *key)
            .collect();
        let _ = write!(page, "\n### `{name}.type = \"{of}\"`\n");
        rows(page, &own, Some(of));
    }
}

/// For each key the type of the outermost table that it belongs to: those of tables within follow its own keys.
fn types<'a>(table: &str, keys: &[&'a DescribedKey]) -> Vec<Option<&'a str>> {
    let mut current = None;
    keys.iter()
        .map(|key| {
            if parent(&key.key.path) == Some(table) {
                current = key.key.only_for_type.as_deref();
            }
            current
        })
        .collect()
}

fn rows(page: &mut String, keys: &[&DescribedKey], of: Option<&str>) {
    if keys.is_empty() {
        return;
    }
    page.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
    for DescribedKey { key, description, default, required } in keys {
        let only = key.only_for_type.as_deref().filter(|only| Some(*only) != of);
        let only = only.map_or(String::new(), |only| format!(" (type `{only}`)"));
        let default = match default {
            Some(value) => format!("`{}`", toml(value)),
            None if *required => "required".to_owned(),
            None => String::new(),
        };
        let _ = writeln!(
            page,
            "| `{}`{only} | {} | {} | {} |",
            key.path,
            cell(&key.value),
            default.replace('|', "\\|"),
            list_cell(description)
        );
    }
}

/// A default as it is written in a config.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The table that a key is in: `a.b` for `a.b.c`, and for `a.b.*.c` as well.
fn parent(path: &str) -> Option<&str> {
    let (parent, _) = path.rsplit_once('.')?;
    Some(parent.strip_suffix(".*").unwrap_or(parent))
}

#[cfg(test)]
mod tests {
    use sonotune_run::config::RunConfig;
    use sonotune_study::StudyConfig;

    use super::*;

    #[test]
    fn every_key_has_a_row_or_a_heading() {
        let run = (described_keys::<RunConfig>(), page::<RunConfig>(&RUN));
        let study = (described_keys::<StudyConfig>(), page::<StudyConfig>(&STUDY));
        for (keys, page) in [run, study] {
            assert!(keys.len() > 30);
            for key in keys {
                let path = &key.key.path;
                let there =
                    [format!("| `{path}`"), format!("## `[{path}]`"), format!("## `[[{path}]]`")]
                        .iter()
                        .any(|text| page.contains(text));
                // The types of a table are listed under its heading.
                assert!(there || path.ends_with(".type"), "{path} is not on the page");
            }
        }
    }
}
