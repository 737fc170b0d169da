//! The JSON Schema of a config, from the types that read it: names, meanings, values and defaults of all keys.
//!
//! Editors complete and check by [`json_schema`]; [`described_keys`] is the same knowledge as a list, from which the
//! reference is printed.

mod described;
mod one_file;
mod tidy;

pub use described::{DescribedKey, described_keys, disagreements};

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Schema, keys, registry::Summary};

/// The schema of one file that contributes to a config of type `C`: a file may leave to others what it needs, so
/// only elements of arrays, which are never merged, have required keys.
#[must_use]
pub fn json_schema<C: Schema>() -> Value {
    let mut schema = complete::<C>();
    one_file::relax(&mut schema);
    schema
}

/// The schema of a whole config, all that it extends included.
fn complete<C: Schema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        // Editors show the description beside a reference, if they follow it, but not that of the key.
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<C>().to_value();
    tidy::tidy(&mut schema);
    schema
}

/// Gives a trait object that tables are read by its schema: `schema_of_types!(dyn TaskConfig, "task");`. See the function
/// of this name.
#[macro_export]
macro_rules! schema_of_types {
    ($object:ty, $table:literal) => {
        impl $crate::schemars::JsonSchema for $object {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($object).into()
            }

            fn json_schema(
                generator: &mut $crate::schemars::SchemaGenerator,
            ) -> $crate::schemars::Schema {
                $crate::schema_of_types::<Box<Self>>($table, generator)
            }
        }
    };
}

/// The schema of a table that linked crates add a `type` to: one form for each of the types of `T`, the boxed trait
/// object that reads the table. A type whose [`Summary`] has no schema may contain any key.
#[must_use]
pub fn schema_of_types<T: DeserializeOwned>(
    table: &str,
    generator: &mut SchemaGenerator,
) -> schemars::Schema {
    let mut names = keys::type_names(&[], &|tree| T::deserialize(tree).err());
    names.sort();
    let forms: Vec<Value> = names.iter().map(|name| form(table, name, generator)).collect();
    let mut schema = schemars::Schema::default();
    schema.insert("oneOf".to_owned(), Value::Array(forms));
    schema
}

/// The schema of a table of that type.
fn form(table: &str, name: &str, generator: &mut SchemaGenerator) -> Value {
    let summary = Summary::find(table, name);
    let own = summary.and_then(|summary| summary.schema);
    let mut form = own.map_or_else(|| json!({ "type": "object" }), |own| own(generator).to_value());
    let text = summary.map_or("", |summary| summary.text);
    let tag = json!({ "type": "string", "const": name, "description": text });
    if let Some(form) = form.as_object_mut() {
        form.insert("title".to_owned(), json!(name));
        insert(form, "properties", "type", tag);
        let required = form.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            required.push(json!("type"));
        }
    }
    form
}

/// Puts `value` under `key` into the object that `schema` has under `of`, which is made if it is not there.
fn insert(schema: &mut serde_json::Map<String, Value>, of: &str, key: &str, value: Value) {
    if let Some(object) = schema.entry(of).or_insert_with(|| json!({})).as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// The name of a form of a table with a `type`, if `schema` is one.
fn type_name(schema: &Value) -> Option<&str> {
    schema.pointer("/properties/type/const")?.as_str()
}
