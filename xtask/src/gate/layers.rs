//! `xtask/layers.toml`: the order of the crates, and what each is excused from.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};

/// Where the order is, for messages.
pub(super) const FILE: &str = "xtask/layers.toml";

/// Crates in order: each may depend on those before it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layers {
    /// Packages of others that need libtorch.
    pub(super) libtorch: Vec<String>,
    without_libtorch: Vec<Layer>,
    with_libtorch: Vec<Layer>,
}

/// One crate of the workspace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    pub(super) name: String,
    /// The only crates that may depend on this one; without it, all that come later.
    pub(super) known_to: Option<Vec<String>>,
    /// Crates whose tests may depend on this one all the same.
    #[serde(default)]
    pub(super) for_tests_of: Vec<String>,
    /// May contain `unsafe`.
    #[serde(default, rename = "unsafe")]
    pub(super) allows_unsafe: bool,
    /// Why it may be larger than others.
    pub(super) size_reason: Option<String>,
    /// Groups of modules that still import each other.
    #[serde(default)]
    pub(super) known_cycles: Vec<Vec<String>>,
}

/// Reads one of the files of rules.
///
/// # Errors
/// When it cannot be read or is malformed.
pub(super) fn read<T: DeserializeOwned>(root: &Path, file: &str) -> Result<T> {
    let reading = || format!("reading {file}");
    let text = fs::read_to_string(root.join(file)).with_context(reading)?;
    toml::from_str(&text).with_context(reading)
}

impl Layers {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Layer> {
        self.without_libtorch.iter().chain(&self.with_libtorch)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Layer> {
        self.iter().find(|layer| layer.name == name)
    }

    /// Place in the order, from the ground up.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.iter().position(|layer| layer.name == name)
    }

    pub(super) fn builds_without_libtorch(&self, name: &str) -> bool {
        self.without_libtorch.iter().any(|layer| layer.name == name)
    }
}
