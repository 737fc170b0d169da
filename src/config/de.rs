//! Deserialises a [`Node`] tree; errors state what was expected and at which path.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};

use super::node::{Node, Value};

/// Why a tree does not fit a type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DeError {
    /// The value, or for unknown and missing keys the table. Values inside tables that serde
    /// buffers (internally tagged enums) are only known by that table; [`super::locate`] finds them.
    pub(super) path: Vec<String>,
    pub(super) kind: Kind,
}

/// `got` and `expected` in serde's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    UnknownKey {
        key: String,
        known: Vec<String>,
    },
    MissingKey {
        key: String,
    },
    UnknownName {
        name: String,
        known: Vec<String>,
    },
    WrongType {
        got: String,
        expected: String,
    },
    WrongValue {
        got: String,
        expected: String,
    },
    WrongLength {
        len: usize,
        expected: String,
    },
    /// The type does not read this key, and does not refuse unknown ones.
    Ignored,
    Other(String),
}

/// Marks an error that is passed on as text.
const MARK: &str = "\u{1}config\u{1}";

impl fmt::Display for DeError {
    /// typetag passes a foreign deserialiser's error across trait objects only as text, so the text
    /// contains all of it and [`de::Error::custom`] unpacks it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{MARK}{json}")
    }
}

impl std::error::Error for DeError {}

impl From<Kind> for DeError {
    fn from(kind: Kind) -> Self {
        Self { path: Vec::new(), kind }
    }
}

impl DeError {
    fn inside(mut self, segment: &str) -> Self {
        self.path.insert(0, segment.to_owned());
        self
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        text.strip_prefix(MARK)
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_else(|| Kind::Other(text).into())
    }

    fn invalid_type(got: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Kind::WrongType { got: got.to_string(), expected: expected.to_string() }.into()
    }

    fn invalid_value(got: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Kind::WrongValue { got: got.to_string(), expected: expected.to_string() }.into()
    }

    fn invalid_length(len: usize, expected: &dyn de::Expected) -> Self {
        Kind::WrongLength { len, expected: expected.to_string() }.into()
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Kind::UnknownName { name: name.to_owned(), known: owned(known) }.into()
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Kind::UnknownKey { key: key.to_owned(), known: owned(known) }.into()
    }

    fn missing_field(key: &'static str) -> Self {
        Kind::MissingKey { key: key.to_owned() }.into()
    }
}

/// How serde words a value that does not fit; [`Kind`]'s `got`.
pub(super) fn unexpected(node: &Node) -> Unexpected<'_> {
    match &node.value {
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Integer(value) => Unexpected::Signed(*value),
        Value::Float(value) => Unexpected::Float(*value),
        Value::String(text) => Unexpected::Str(text),
        Value::Date(_) => Unexpected::Other("date"),
        Value::Array(_) => Unexpected::Seq,
        Value::Table(_) => Unexpected::Map,
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Date(_) => Err(de::Error::invalid_type(unexpected(self), &visitor)),
            Value::Array(items) => {
                let mut access = Items { items, index: 0 };
                let value = visitor.visit_seq(&mut access)?;
                if access.index < items.len() {
                    let expected = format!("an array of {}", access.index);
                    return Err(de::Error::invalid_length(items.len(), &expected.as_str()));
                }
                Ok(value)
            }
            Value::Table(table) => visitor.visit_map(Entries::new(table)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match &self.value {
            // Derived visitors would also take an array, key by key in the order of declaration.
            Value::Table(table) => visitor.visit_map(Entries::new(table)),
            _ => Err(de::Error::invalid_type(unexpected(self), &visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match &self.value {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(table) if table.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries::new(table)))
            }
            _ => {
                let expected = one_of(variants);
                Err(de::Error::invalid_type(unexpected(self), &expected.as_str()))
            }
        }
    }

    /// A key that nothing reads is a typo, even if a plugin's struct would accept it.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DeError> {
        Err(Kind::Ignored.into())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

/// `"a", "b" or "c"`.
pub(super) fn one_of<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("{:?}", n.as_ref())).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

struct Items<'de> {
    items: &'de [Node],
    index: usize,
}

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DeError> {
        let Some(node) = self.items.get(self.index) else { return Ok(None) };
        self.index += 1;
        seed.deserialize(node).map(Some).map_err(|e| e.inside(&(self.index - 1).to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.index)
    }
}

struct Entries<'de> {
    entries: std::vec::IntoIter<&'de (String, Node)>,
    pending: Option<&'de (String, Node)>,
}

impl<'de> Entries<'de> {
    fn new(table: &'de [(String, Node)]) -> Self {
        let mut entries: Vec<_> = table.iter().collect();
        // typetag streams what follows the tag but buffers what precedes it, and so loses positions.
        entries.sort_by_key(|(key, _)| key != "type");
        Self { entries: entries.into_iter(), pending: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DeError> {
        self.pending = self.entries.next();
        let Some((key, _)) = self.pending else { return Ok(None) };
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DeError> {
        let (key, node) = self
            .pending
            .take()
            .ok_or_else(|| DeError::from(Kind::Other("value without key".into())))?;
        seed.deserialize(node).map_err(|e| e.inside(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}
