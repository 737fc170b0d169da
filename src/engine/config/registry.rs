//! What is linked in: backbones, tasks, datasets.

use serde::Deserialize;

use super::{KeyInfo, RunConfig, keys, node::Node};
use crate::{Error, Result};

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

/// One line about a `type`, for `sonotune list`. Submitted beside the `#[typetag::serde]` impl:
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
    /// As in `#[typetag::serde(name = "…")]`.
    pub name: &'static str,
    /// No full stop.
    pub text: &'static str,
}

impl Summary {
    /// Of a [`crate::backbone::BackboneConfig`].
    #[must_use]
    pub const fn backbone(name: &'static str, text: &'static str) -> Self {
        Self { kind: Kind::Backbone, name, text }
    }

    /// Of a [`crate::task::TaskConfig`].
    #[must_use]
    pub const fn task(name: &'static str, text: &'static str) -> Self {
        Self { kind: Kind::Task, name, text }
    }

    /// Of a [`crate::data::DatasetConfig`].
    #[must_use]
    pub const fn dataset(name: &'static str, text: &'static str) -> Self {
        Self { kind: Kind::Dataset, name, text }
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
    /// Empty where no [`Summary`] was submitted.
    pub summary: String,
}

/// All that is linked in, by kind and name.
///
/// The names are those that deserialisation accepts; typetag keeps them to itself but lists them
/// when it meets a name that it does not know.
///
/// # Errors
/// When two types share a name (the first use of it would fail), or a [`Summary`] belongs to none.
pub fn registered() -> Result<Vec<Registered>> {
    let summaries: Vec<&Summary> = inventory::iter::<Summary>.into_iter().collect();
    let mut all = Vec::new();
    for kind in [Kind::Backbone, Kind::Task, Kind::Dataset] {
        let mut names = keys::type_names(&[kind.table().to_owned()], &attempt);
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("two [{}] types are named {:?}", kind.table(), pair[0]);
            return Err(Error::config(message).into());
        }
        let of_kind = || summaries.iter().filter(|s| s.kind == kind);
        if let Some(lost) = of_kind().find(|s| names.iter().all(|name| name != s.name)) {
            let message =
                format!("summary of {:?}, which is no [{}] type", lost.name, kind.table());
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

/// Every key that a config can hold, those of plugins included.
#[must_use]
pub fn known_keys() -> Vec<KeyInfo> {
    keys::list(&attempt)
}

fn attempt(tree: &Node) -> Option<super::de::DeError> {
    RunConfig::deserialize(tree).err()
}
