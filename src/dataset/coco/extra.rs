//! What a reader without a use for a key keeps of it.

use std::fmt;

use serde::{Serialize, Serializer, de::MapAccess, ser::SerializeMap};
use serde_json::value::RawValue;

use super::{Fields, Pair};

/// Keys that this program gives no meaning, in the order of the file, with their values unread.
#[derive(Clone, Default)]
pub struct Extra(pub Vec<(Box<str>, Box<RawValue>)>);

impl Extra {
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(k, _)| **k == *key).map(|(_, value)| &**value)
    }
}

impl Fields for Extra {
    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        let key = pair.key.into();
        self.0.push((key, pair.unknown()?));
        Ok(())
    }
}

impl PartialEq for Extra {
    fn eq(&self, other: &Self) -> bool {
        let texts = |e: &Self| -> Vec<(Box<str>, Box<str>)> {
            e.0.iter().map(|(key, value)| (key.clone(), value.get().into())).collect()
        };
        texts(self) == texts(other)
    }
}

impl Eq for Extra {}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key, value.get()))).finish()
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
