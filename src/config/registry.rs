//! What is linked in: the types of the tables that plugins can add to.

use std::panic::Location;

use super::{KeyInfo, Schema, keys, node::Node};
use anyhow::Result;
use schemars::{JsonSchema, SchemaGenerator};
use sonotune_base::Error;

/// One line about a `type`, for `sonotune list`, and its keys, for the JSON Schema. Submitted next to the
/// `#[typetag::serde]` impl:
///
/// ```
/// # #[derive(schemars::JsonSchema)]
/// # struct MyTask;
/// inventory::submit! {
///     sonotune_config::Summary::of("task", "my_task", "what it predicts, and how").schema::<MyTask>()
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// The table it is a `type` of.
    pub table: &'static str,
    /// As in `#[typetag::serde(name = "…")]`.
    pub name: &'static str,
    /// The line, without a full stop.
    pub text: &'static str,
    /// Makes the schema of its keys; `None`: nothing is known about them.
    pub(super) schema: Option<fn(&mut SchemaGenerator) -> schemars::Schema>,
    /// Where it was submitted.
    at: &'static Location<'static>,
}

impl Summary {
    /// `table` is the table's name, `name` the value of its `type`.
    #[must_use]
    #[track_caller]
    pub const fn of(table: &'static str, name: &'static str, text: &'static str) -> Self {
        Self { table, name, text, schema: None, at: Location::caller() }
    }

    /// The keys of the type are those of `T`, the struct that reads its table.
    #[must_use]
    pub const fn schema<T: JsonSchema>(mut self) -> Self {
        self.schema = Some(T::json_schema);
        self
    }

    /// What was submitted about a type.
    pub(super) fn find(table: &str, name: &str) -> Option<&'static Self> {
        inventory::iter::<Self>.into_iter().find(|s| s.table == table && s.name == name)
    }
}

inventory::collect!(Summary);

/// Something that is linked in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Registered {
    /// The table it is a `type` of.
    #[serde(rename = "kind")]
    pub table: &'static str,
    /// The value of `type`.
    pub name: String,
    /// Empty if no [`Summary`] was submitted.
    pub summary: String,
}

/// Every type that is linked in, by table and name.
///
/// The names are those that deserialisation accepts; typetag does not expose them, but lists them
/// in the error for an unknown name.
///
/// # Errors
/// When two types share a name, or a [`Summary`] belongs to none.
pub fn registered<C: Schema>() -> Result<Vec<Registered>> {
    ensure_unique::<C>()?;
    let summaries: Vec<&Summary> = inventory::iter::<Summary>.into_iter().collect();
    let mut all = Vec::new();
    for &table in C::TABLES {
        let names = sorted_names::<C>(table);
        let of_table = || summaries.iter().filter(|s| s.table == table);
        if let Some(lost) = of_table().find(|s| names.iter().all(|name| name != s.name)) {
            let message = format!("summary of {:?}, which is no [{}] type", lost.name, table);
            return Err(Error::config(message).into());
        }
        all.extend(names.into_iter().map(|name| {
            let found = of_table().find(|s| s.name == name);
            let summary = found.map_or(String::new(), |s| s.text.to_owned());
            Registered { table, name, summary }
        }));
    }
    Ok(all)
}

/// Refuses two types with the same name: a config could not say which one it means.
///
/// # Errors
/// Names the type, and where those are registered that submitted a [`Summary`].
pub(super) fn ensure_unique<C: Schema>() -> Result<()> {
    for &table in C::TABLES {
        let names = sorted_names::<C>(table);
        let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) else { continue };
        let mut places: Vec<String> = inventory::iter::<Summary>
            .into_iter()
            .filter(|summary| summary.table == table && summary.name == pair[0])
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
             `#[typetag::serde(name = \"…\")]`, or link one of the crates only",
            table, pair[0]
        ))
        .into());
    }
    C::check_linked()
}

fn sorted_names<C: Schema>(table: &str) -> Vec<String> {
    let mut names = keys::type_names(&[table.to_owned()], &attempt::<C>);
    names.sort();
    names
}

/// Every key that a config can contain, including those of plugins.
#[must_use]
pub fn known_keys<C: Schema>() -> Vec<KeyInfo> {
    keys::list(&attempt::<C>)
}

fn attempt<C: Schema>(tree: &Node) -> Option<super::de::DeError> {
    C::deserialize(tree).err()
}
