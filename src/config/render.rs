//! The resolved config as text.

use std::path::Path;

use serde::Serialize;

use super::{
    node::{Node, Origin, Value},
    parse,
};
use anyhow::{Context, Result};

/// TOML with every default written out: loading it gives the same config, in this version and in
/// later ones whose defaults differ.
pub(super) fn resolved(config: &impl Serialize) -> Result<String> {
    toml::to_string(config).context("the config cannot be written as TOML")
}

/// Path and line (from 1) of every value in resolved text: leaves and arrays that hold no tables.
pub(super) fn values(text: &str) -> Vec<(Vec<String>, usize)> {
    let Ok(root) = parse::text_of(text, Path::new("config.toml")) else { return Vec::new() };
    let holds_tables = |node: &Node| match &node.value {
        Value::Table(_) => true,
        Value::Array(items) => items.iter().any(|item| item.table().is_some()),
        _ => false,
    };
    let in_plain_array = |path: &[String]| {
        path.split_last()
            .and_then(|(_, parents)| root.at(parents))
            .is_some_and(|parent| matches!(parent.value, Value::Array(_)) && !holds_tables(parent))
    };
    let line = |node: &Node| match node.origin {
        Origin::File { line, .. } => line,
        Origin::Override { .. } => 0,
    };
    root.paths()
        .into_iter()
        .filter(|path| !in_plain_array(path))
        .filter_map(|path| {
            root.at(&path).filter(|n| !holds_tables(n)).map(|n| (path.clone(), line(n)))
        })
        .collect()
}

/// The resolved text with a comment after each value that says where it came from.
pub(super) fn with_origins(text: &str, origin: impl Fn(&[String]) -> String) -> String {
    let values = values(text);
    let width = text.lines().map(|line| line.chars().count()).filter(|n| *n < 60).max();
    let annotate = |(index, line): (usize, &str)| {
        let here = values.iter().find(|(_, number)| *number == index + 1);
        match here {
            Some((path, _)) => format!("{line:0$}  # {1}\n", width.unwrap_or(0), origin(path)),
            None => format!("{line}\n"),
        }
    };
    text.lines().enumerate().map(annotate).collect()
}
