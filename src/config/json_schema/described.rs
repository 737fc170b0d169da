//! All keys with their meanings, in the order in which the types declare them.

use serde::Serialize;
use serde_json::{Value, json};

use super::{complete, type_name};
use crate::{KeyInfo, Schema, known_keys};

/// A key of a config and what a user needs to know about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DescribedKey {
    /// Its place and the values it takes.
    #[serde(flatten)]
    pub key: KeyInfo,
    /// What it means, as Markdown; empty if its type does not say.
    pub description: String,
    /// What it is if it is not given, as JSON; `None`: required, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether its table needs it.
    pub required: bool,
}

/// Every key that a config can contain, including those of plugins, with its meaning.
#[must_use]
pub fn described_keys<C: Schema>() -> Vec<DescribedKey> {
    let mut found = Vec::new();
    walk(&complete::<C>(), "", None, &mut found);
    known_keys::<C>()
        .into_iter()
        .map(|key| {
            let same =
                |other: &&Found| other.path == key.path && other.only_for_type == key.only_for_type;
            let found = found.iter().find(same);
            DescribedKey {
                description: found.map_or_else(String::new, Found::description),
                default: found.and_then(|found| found.schema.get("default").cloned()),
                required: found.is_some_and(|found| found.required),
                key,
            }
        })
        .collect()
}

/// A key in the schema.
struct Found {
    path: String,
    only_for_type: Option<String>,
    schema: Value,
    required: bool,
}

impl Found {
    fn description(&self) -> String {
        self.schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// Adds the keys of the table at `path`, outermost first.
fn walk(schema: &Value, path: &str, only_for_type: Option<&str>, found: &mut Vec<Found>) {
    let within = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let mut push = |key: &str, schema: &Value, only_for_type: Option<&str>, required: bool| {
        let path = within(key);
        let only = only_for_type.map(str::to_owned);
        let at = path.clone();
        found.push(Found { path, only_for_type: only, schema: schema.clone(), required });
        walk(schema, &at, only_for_type, found);
    };
    let forms = ["oneOf", "anyOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
    let forms: Vec<&Value> = forms.flatten().collect();
    if forms.iter().any(|form| type_name(form).is_some()) {
        let tag = json!({ "description": types_in_words(&forms) });
        push("type", &tag, only_for_type, true);
    }
    for form in forms {
        match type_name(form) {
            Some(name) => properties(form, |key, schema, required| {
                if key != "type" {
                    push(key, schema, Some(name), required);
                }
            }),
            None => properties(form, |key, schema, required| {
                push(key, schema, only_for_type, required);
            }),
        }
    }
    properties(schema, |key, schema, required| push(key, schema, only_for_type, required));
    if let Some(element) = schema.get("items") {
        walk(element, &within("*"), only_for_type, found);
    }
}

/// Calls `each` with every key of a table, its schema, and whether it is required.
fn properties(schema: &Value, mut each: impl FnMut(&str, &Value, bool)) {
    let required: Vec<&Value> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().collect();
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        each(key, property, required.iter().any(|name| *name == key));
    }
}

/// What each of the types is, as a list.
fn types_in_words(forms: &[&Value]) -> String {
    let line = |form: &&Value| {
        let name = type_name(form)?;
        let summary = form.pointer("/properties/type/description").and_then(Value::as_str);
        let own = form.get("description").and_then(Value::as_str);
        let text = summary.or(own).unwrap_or_default();
        Some(format!("- `{name}`: {}", text.replace('\n', " ")))
    };
    forms.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Keys of the schema that [`known_keys`] does not know, and the other way round.
#[must_use]
pub fn disagreements<C: Schema>() -> Vec<String> {
    let mut found = Vec::new();
    walk(&complete::<C>(), "", None, &mut found);
    let known = known_keys::<C>();
    let name = |path: &str, only: &Option<String>| match only {
        Some(only) => format!("{path} (type {only:?})"),
        None => path.to_owned(),
    };
    let in_schema: Vec<String> = found.iter().map(|f| name(&f.path, &f.only_for_type)).collect();
    let in_types: Vec<String> = known.iter().map(|k| name(&k.path, &k.only_for_type)).collect();
    let missing = in_types.iter().filter(|key| !in_schema.contains(key));
    let extra = in_schema.iter().filter(|key| !in_types.contains(key));
    missing
        .map(|key| format!("{key} is a key, but not in the schema"))
        .chain(extra.map(|key| format!("{key} is in the schema, but no key")))
        .collect()
}
