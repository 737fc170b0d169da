//! A line of the config, with its reason.

use serde::Serialize;

/// One line of the config.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its table; empty: the top.
    pub table: String,
    pub key: String,
    pub value: toml::Value,
    pub reason: String,
    /// Whether it follows from something that was not known for sure.
    pub guess: bool,
}

impl Line {
    pub(crate) fn new(
        table: &str,
        key: &str,
        value: toml::Value,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            table: table.to_owned(),
            key: key.to_owned(),
            value,
            reason: reason.into(),
            guess: false,
        }
    }

    pub(crate) fn guess(
        table: &str,
        key: &str,
        value: toml::Value,
        reason: impl Into<String>,
    ) -> Self {
        Self { guess: true, ..Self::new(table, key, value, reason) }
    }
}
