//! One object of a COCO file's lists: its text as in the file, and its keys when somebody asks.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use sonotune_dataset::coco::{Extra, Object};

/// A JSON object that is written as it was read until one of its keys changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry(Arc<str>);

/// A key with its new value; `None` removes it.
pub(crate) type Change = (&'static str, Option<Box<RawValue>>);

impl Entry {
    pub(crate) fn new(json: &RawValue) -> Self {
        Self(json.get().into())
    }

    /// An object of these keys.
    pub(crate) fn of(changes: Vec<Change>) -> Result<Self> {
        Self("{}".into()).with(changes)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The value of a key, if it is there and of that type.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let value = self.raw(key)?;
        serde_json::from_str(value.get()).ok()
    }

    /// The value of a key, unread. The last of repeated keys counts.
    pub(crate) fn raw(&self, key: &str) -> Option<Box<RawValue>> {
        let keys = self.keys().ok()?;
        keys.0.into_iter().rev().find(|(name, _)| **name == *key).map(|(_, value)| value)
    }

    /// The same object with some keys changed; the others keep their order and text.
    ///
    /// # Errors
    /// Never, for an object that was read.
    pub(crate) fn with(&self, changes: Vec<Change>) -> Result<Self> {
        let mut keys = self.keys()?.0;
        for (key, value) in changes {
            let place = keys.iter().position(|(name, _)| **name == *key);
            match (place, value) {
                (Some(place), Some(value)) => keys[place].1 = value,
                (Some(place), None) => drop(keys.remove(place)),
                (None, Some(value)) => keys.push((key.into(), value)),
                (None, None) => {}
            }
        }
        Ok(Self(serde_json::to_string(&Extra(keys)).context("an entry as JSON")?.into()))
    }

    /// Whether another says the same, apart from the ids that tie entries together, and from the spelling.
    pub(crate) fn says_what(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let content = |entry: &Self| {
            let mut keys: Map<String, Value> = serde_json::from_str(&entry.0).ok()?;
            keys.retain(|key, _| key != "id" && key != "image_id");
            Some(keys)
        };
        content(self).is_some_and(|keys| Some(keys) == content(other))
    }

    fn keys(&self) -> Result<Extra> {
        let Object(keys): Object<Extra> =
            serde_json::from_str(&self.0).context("an entry of a COCO file")?;
        Ok(keys)
    }
}

/// A key with a value.
///
/// # Errors
/// Never, for values that JSON has.
pub(crate) fn set(key: &'static str, value: &(impl Serialize + ?Sized)) -> Result<Change> {
    let value = to_raw_value(value).with_context(|| format!("`{key}` as JSON"))?;
    Ok((key, Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Entry {
        Entry::new(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn spelling_and_numbers_of_entries_make_no_difference() {
        let one =
            entry(r#"{"id": 1, "image_id": 2, "bbox": [1.50, 2], "x": {"b": 1, "a": "\u00e9"}}"#);
        assert!(
            one.says_what(&entry(r#"{"x":{"a":"é","b":1},"bbox":[1.5,2],"id":7,"image_id":9}"#))
        );
        assert!(
            !one.says_what(&entry(r#"{"x":{"a":"é","b":2},"bbox":[1.5,2],"id":1,"image_id":2}"#))
        );
        assert!(!one.says_what(&entry(r#"{"id":1,"image_id":2,"bbox":[1.5,2]}"#)));
    }

    #[test]
    fn only_the_changed_key_has_another_text() {
        let before = entry(
            r#"{ "id":  12345678901234567890123, "x": 1.0e2, "gone": [ ], "y":{"b":1,"a":2} }"#,
        );
        assert_eq!(before.get::<f64>("x"), Some(100.0));
        let changes =
            vec![set("x", &7).unwrap(), ("gone", None), set("new", "é").unwrap(), ("none", None)];
        let after = before.with(changes).unwrap();
        assert_eq!(
            after.text(),
            r#"{"id":12345678901234567890123,"x":7,"y":{"b":1,"a":2},"new":"é"}"#
        );
        assert_eq!(Entry::of(vec![set("id", &1).unwrap()]).unwrap().text(), r#"{"id":1}"#);
    }
}
