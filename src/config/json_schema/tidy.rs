//! Brings what `schemars` derives into the form that editors and the reference use.
//!
//! TOML has no null: a key without a value is left out. Enums become lists of names whose meanings are in the
//! description, because editors offer the names of an `enum`, but not of a `oneOf`.

use serde_json::{Map, Value};

/// Tidies a schema and all within it.
pub(super) fn tidy(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for key in ["oneOf", "anyOf", "prefixItems"] {
        object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(tidy);
    }
    for key in ["properties", "$defs"] {
        let map = object.get_mut(key).and_then(Value::as_object_mut);
        map.into_iter().flat_map(Map::values_mut).for_each(tidy);
    }
    for key in ["items", "additionalProperties"] {
        object.get_mut(key).into_iter().for_each(tidy);
    }
    object.remove("format");
    without_null(object);
    names_as_enum(object);
    describe_type(object);
    if let Some(text) = object.get("description").and_then(Value::as_str) {
        let text = flow(text);
        object.insert("description".to_owned(), Value::String(text));
    }
}

/// Drops null from types, lists, forms and defaults, and defaults of whole tables: each of their keys has its own.
fn without_null(object: &mut Map<String, Value>) {
    if object.get("default").is_some_and(|value| value.is_null() || value.is_object()) {
        object.remove("default");
    }
    for key in ["type", "enum"] {
        let Some(list) = object.get_mut(key).and_then(Value::as_array_mut) else { continue };
        list.retain(|item| !item.is_null() && item != "null");
        if key == "type"
            && let [only] = list.as_slice()
        {
            let only = only.clone();
            object.insert(key.to_owned(), only);
        }
    }
    let Some(forms) = object.get_mut("anyOf").and_then(Value::as_array_mut) else { return };
    let before = forms.len();
    forms.retain(|form| form["type"] != "null");
    if forms.len() == before {
        return;
    }
    if let [Value::Object(only)] = forms.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

/// `oneOf` names, each with its meaning, as `enum`; meanings that the description does not have yet follow it.
fn names_as_enum(object: &mut Map<String, Value>) {
    let Some(forms) = object.get("oneOf").and_then(Value::as_array) else { return };
    let mut names = Vec::new();
    let mut meanings = Vec::new();
    for form in forms {
        match (form.get("const"), form.get("enum")) {
            (Some(Value::String(name)), _) => {
                names.push(Value::String(name.clone()));
                if let Some(text) = form.get("description").and_then(Value::as_str) {
                    meanings.push((name.clone(), text.to_owned()));
                }
            }
            (None, Some(Value::Array(several))) => names.extend(several.iter().cloned()),
            _ => return,
        }
    }
    object.remove("oneOf");
    object.insert("type".to_owned(), "string".into());
    object.insert("enum".to_owned(), Value::Array(names));
    let text = object.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let list: Vec<String> = meanings
        .into_iter()
        .filter(|(name, _)| !text.contains(&format!("`{name}`")))
        .map(|(name, meaning)| format!("- `{name}`: {}", meaning.replace('\n', " ")))
        .collect();
    let all: Vec<String> =
        [text, list.join("\n")].into_iter().filter(|part| !part.is_empty()).collect();
    if !all.is_empty() {
        object.insert("description".to_owned(), all.join("\n\n").into());
    }
}

/// The `type` of a form means what the form does, unless it says so itself.
fn describe_type(object: &mut Map<String, Value>) {
    let description = object.get("description").cloned();
    let tag = object.get_mut("properties").and_then(|properties| properties.get_mut("type"));
    if let (Some(Value::Object(tag)), Some(text)) = (tag, description)
        && tag.contains_key("const")
    {
        tag.entry("description").or_insert(text);
    }
}

/// A doc comment as running text: lines of a paragraph are joined, examples and lists keep theirs, and links to code
/// become plain words.
fn flow(text: &str) -> String {
    let mut out = String::new();
    let mut code = false;
    let mut fresh = true;
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        let own = code || fence || line.starts_with("- ") || line.starts_with('|');
        if line.is_empty() && !code {
            out.push_str("\n\n");
            fresh = true;
            continue;
        }
        if !fresh {
            out.push(if own { '\n' } else { ' ' });
        }
        out.push_str(line);
        code ^= fence;
        fresh = false;
    }
    without_code_links(out.trim())
}

/// ``[`name`]`` and ``[`name`](path)`` as `` `name` ``.
fn without_code_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        out.push_str(before);
        let Some((name, after)) = after.split_once("`]") else {
            out.push_str("[`");
            rest = after;
            continue;
        };
        out.push('`');
        out.push_str(name.rsplit("::").next().unwrap_or(name));
        out.push('`');
        rest = match after.strip_prefix('(').and_then(|link| link.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tidied(mut schema: Value) -> Value {
        tidy(&mut schema);
        schema
    }

    #[test]
    fn an_optional_value_is_one_that_may_be_left_out() {
        let schema = tidied(json!({
            "properties": {
                "a": { "type": ["integer", "null"], "format": "uint64", "default": null },
                "b": { "description": "what", "anyOf": [{ "type": "string" }, { "type": "null" }] },
            },
        }));
        let expected = json!({
            "a": { "type": "integer" },
            "b": { "description": "what", "type": "string" },
        });
        assert_eq!(schema["properties"], expected);
    }

    #[test]
    fn names_with_meanings_become_a_list_and_those_unexplained_are_explained() {
        let schema = tidied(json!({
            "description": "As `on`.",
            "oneOf": [
                { "const": "on", "description": "already there" },
                { "const": "off", "description": "stays\ndark" },
                { "enum": ["other"] },
            ],
        }));
        assert_eq!(schema["enum"], json!(["on", "off", "other"]));
        assert_eq!(schema["description"], "As `on`.\n\n- `off`: stays dark");
    }

    #[test]
    fn a_comment_becomes_running_text() {
        let text = "Same as\n[`Self::state_dict`](x).\n\n```toml\na = 1\nb = 2\n```\nafter";
        let expected = "Same as `state_dict`.\n\n```toml\na = 1\nb = 2\n``` after";
        assert_eq!(flow(text), expected);
    }
}
