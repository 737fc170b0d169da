//! What is linked in: backbones, tasks, datasets.

use std::panic::Location;

use serde::Deserialize;

use super::{KeyInfo, RunConfig, keys, node::Node};
use crate::{Error, Result, weights::keymap::conventions};

/// The tables of a config that a plugin can add a `type` to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// [`crate::backbone::BackboneConfig`]
    Backbone,
    /// [`crate::task::TaskConfig`]
    Task,
    /// [`crate::data::DatasetConfig`]
    Dataset,
}

impl Kind {
    /// The table's name.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Backbone => "backbone",
            Self::Task => "task",
            Self::Dataset => "dataset",
        }
    }
}

/// One line about a `type`, for `sonotune list`. Submitted next to the `#[typetag::serde]` impl:
///
/// ```
/// engine::inventory::submit! {
///     engine::config::Summary::task("my_task", "what it predicts, and how")
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// The table it is a `type` of.
    pub kind: Kind,
    /// Name as in `#[typetag::serde(name = "…")]`.
    pub name: &'static str,
    /// The line, without a full stop.
    pub text: &'static str,
    /// Where it was submitted.
    at: &'static Location<'static>,
}

impl Summary {
    /// Summary of a [`crate::backbone::BackboneConfig`].
    #[must_use]
    #[track_caller]
    pub const fn backbone(name: &'static str, text: &'static str) -> Self {
        Self { kind: Kind::Backbone, name, text, at: Location::caller() }
    }

    /// Summary of a [`crate::task::TaskConfig`].
    #[must_use]
    #[track_caller]
    pub const fn task(name: &'static str, text: &'static str) -> Self {
        Self { kind: Kind::Task, name, text, at: Location::caller() }
    }

    /// Summary of a [`crate::data::DatasetConfig`].
    #[must_use]
    #[track_caller]
    pub const fn dataset(name: &'static str, text: &'static str) -> Self {
        Self { kind: Kind::Dataset, name, text, at: Location::caller() }
    }
}

inventory::collect!(Summary);

/// Something that is linked in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Registered {
    /// The table it is a `type` of.
    pub kind: Kind,
    /// The value of `type`.
    pub name: String,
    /// Empty if no [`Summary`] was submitted.
    pub summary: String,
}

/// Everything that is linked in, sorted by kind and name.
///
/// The names are those that deserialisation accepts; typetag does not expose them, but lists them
/// in the error for an unknown name.
///
/// # Errors
/// When two types share a name, or a [`Summary`] does not belong to any.
pub fn registered() -> Result<Vec<Registered>> {
    ensure_unique()?;
    let summaries: Vec<&Summary> = inventory::iter::<Summary>.into_iter().collect();
    let mut all = Vec::new();
    for kind in [Kind::Backbone, Kind::Task, Kind::Dataset] {
        let names = sorted_names(kind);
        let of_kind = || summaries.iter().filter(|s| s.kind == kind);
        if let Some(lost) = of_kind().find(|s| names.iter().all(|name| name != s.name)) {
            let message =
                format!("summary of {:?}, which is not a [{}] type", lost.name, kind.table());
            return Err(Error::config(message).into());
        }
        all.extend(names.into_iter().map(|name| {
            let found = of_kind().find(|s| s.name == name);
            let summary = found.map_or(String::new(), |s| s.text.to_owned());
            Registered { kind, name, summary }
        }));
    }
    Ok(all)
}

/// Refuses two types with the same name: a config could not say which one it means.
///
/// # Errors
/// Names the type, and where the ones with a [`Summary`] are registered.
pub(super) fn ensure_unique() -> Result<()> {
    for kind in [Kind::Backbone, Kind::Task, Kind::Dataset] {
        let names = sorted_names(kind);
        let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) else { continue };
        let mut places: Vec<String> = inventory::iter::<Summary>
            .into_iter()
            .filter(|summary| summary.kind == kind && summary.name == pair[0])
            .map(|summary| format!("{}:{}", summary.at.file(), summary.at.line()))
            .collect();
        places.sort();
        let known = match places.as_slice() {
            [] => String::new(),
            [one] => format!(" (one of them in {one})"),
            several => format!(" ({})", several.join(" and ")),
        };
        return Err(Error::config(format!(
            "two [{}] types are named {:?}{known}; give one of them another name in \
             `#[typetag::serde(name = \"…\")]`, or link only one of the crates",
            kind.table(),
            pair[0]
        ))
        .into());
    }
    ensure_unique_conventions()
}

/// The same for the naming conventions of weight files.
fn ensure_unique_conventions() -> Result<()> {
    let mut names: Vec<&str> = conventions().map(|convention| convention.name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let message = format!("two naming conventions of weights are named {:?}", pair[0]);
            Err(Error::config(message).into())
        }
        None => Ok(()),
    }
}

fn sorted_names(kind: Kind) -> Vec<String> {
    let mut names = keys::type_names(&[kind.table().to_owned()], &attempt);
    names.sort();
    names
}

/// Every key that a config can contain, including those of plugins.
#[must_use]
pub fn known_keys() -> Vec<KeyInfo> {
    keys::list(&attempt)
}

fn attempt(tree: &Node) -> Option<super::de::DeError> {
    RunConfig::deserialize(tree).err()
}
