//! From the schema of a whole config to that of one file.

use serde_json::{Map, Value, json};

use super::{insert, type_name};

/// What is said of a key that `serde` requires.
const REQUIRED: &str = "Required, here or in a file that this one extends.";

/// Lets a file leave out what the files that it extends, or that extend it, may provide; adds `extends` and `unset`.
pub(super) fn relax(schema: &mut Value) {
    relax_table(schema);
    let Some(root) = schema.as_object_mut() else { return };
    let strings = |description: &str| {
        let string = json!({ "type": "string" });
        json!({
            "description": description,
            "anyOf": [string, { "type": "array", "items": string }],
        })
    };
    let extends = "Files that this one builds on, relative to its folder; a later one wins over an earlier one, and \
                   this file's own keys over all of them.";
    let unset = "Inherited keys or tables to remove, e.g. `weights` or `train.clip_grad_norm`.";
    insert(root, "properties", "extends", strings(extends));
    insert(root, "properties", "unset", strings(unset));
}

fn relax_table(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    say_what_is_required(schema, REQUIRED);
    schema.remove("required");
    for key in ["oneOf", "anyOf"] {
        let forms = schema.get_mut(key).and_then(Value::as_array_mut);
        forms.into_iter().flatten().for_each(relax_table);
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut).for_each(relax_table);
    if let Some(element) = schema.get_mut("items").and_then(Value::as_object_mut) {
        say_what_is_required(element, "Required.");
    }
    let forms = schema.get("oneOf").and_then(Value::as_array);
    if forms.is_some_and(|forms| forms.iter().all(|form| type_name(form).is_some()))
        && let Some(Value::Array(forms)) = schema.remove("oneOf")
    {
        choose_by_type(schema, forms);
    }
}

/// Forms of a table by its `type`. The type may be in another file: then the table may have the keys of all forms.
///
/// Written with `if`, since the fault of a value that fits none of several forms does not name the key.
fn choose_by_type(schema: &mut Map<String, Value>, forms: Vec<Value>) {
    let closed = forms.iter().all(|form| form.get("additionalProperties") == Some(&json!(false)));
    let mut properties = keys_of_all(&forms);
    properties.insert("type".to_owned(), tag(&forms));
    let choices: Vec<Value> = forms
        .into_iter()
        .filter_map(|form| {
            let named = json!({ "const": type_name(&form)? });
            let chosen = json!({ "properties": { "type": named }, "required": ["type"] });
            Some(json!({ "if": chosen, "then": form }))
        })
        .collect();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("allOf".to_owned(), Value::Array(choices));
    if closed {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// The key `type` of a table with these forms.
fn tag(forms: &[Value]) -> Value {
    let names: Vec<&str> = forms.iter().filter_map(type_name).collect();
    let meanings = forms.iter().filter_map(|form| {
        let text = form.pointer("/properties/type/description")?.as_str()?;
        Some(format!("- `{}`: {}", type_name(form)?, text.replace('\n', " ")))
    });
    let text = format!("{}\n\n{REQUIRED}", meanings.collect::<Vec<_>>().join("\n"));
    json!({ "type": "string", "enum": names, "description": text })
}

/// The keys of all forms but `type`; one that means several things has all their schemas.
fn keys_of_all(forms: &[Value]) -> Map<String, Value> {
    let mut keys: Map<String, Value> = Map::new();
    for form in forms {
        let own = form.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (key, property) in own.filter(|(key, _)| *key != "type") {
            let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
            let meaning = format!("`{}`: {meaning}", type_name(form).unwrap_or_default());
            match keys.get_mut(key) {
                None => {
                    keys.insert(
                        key.clone(),
                        json!({ "anyOf": [property], "description": meaning }),
                    );
                }
                Some(all) => {
                    let text = all["description"].as_str().unwrap_or_default();
                    all["description"] = json!(format!("{text}\n\n{meaning}"));
                    if let Some(all) = all["anyOf"].as_array_mut().filter(|a| !a.contains(property))
                    {
                        all.push(property.clone());
                    }
                }
            }
        }
    }
    for property in keys.values_mut() {
        if let Some([only]) = property["anyOf"].as_array().map(Vec::as_slice) {
            *property = only.clone();
        }
    }
    keys
}

fn say_what_is_required(schema: &mut Map<String, Value>, words: &str) {
    let required: Vec<String> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|key| Some(key.as_str()?.to_owned()))
        .collect();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for key in required.iter().filter(|key| *key != "type") {
        let Some(property) = properties.get_mut(key).and_then(Value::as_object_mut) else {
            continue;
        };
        let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = if text.is_empty() { words.to_owned() } else { format!("{text}\n\n{words}") };
        property.insert("description".to_owned(), Value::String(text));
    }
}
