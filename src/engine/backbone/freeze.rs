//! Which variables of a backbone stay as they are.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use anyhow::Result;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tch::{Tensor, nn};

use sonotune_base::{Error, pattern::matches};

/// The `freeze` key of a backbone.
///
/// ```toml
/// freeze = "none"                       # default: everything is trained
/// freeze = "all"
/// freeze = 4                            # the stem and the first four blocks (stages)
/// freeze = ["pos_embed", "*.rel_pos_*"] # variables by pattern; `*` matches any run of characters
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Freeze {
    /// Everything is trained.
    #[default]
    None,
    /// Nothing is trained.
    All,
    /// The stem (patch and position embedding, or first convolution) and this many blocks or stages.
    First(usize),
    /// Variables whose name below the backbone matches one of the patterns.
    Patterns(Vec<String>),
}

impl Freeze {
    /// Turns off the gradient of the chosen ones of the backbone's variables, whose names give their
    /// place. They keep their name and their file entry.
    ///
    /// # Errors
    /// When a pattern matches no variable, or there are fewer blocks.
    pub fn apply(
        &self,
        own: &nn::VarStore,
        num_blocks: usize,
        place: impl Fn(&str) -> Place,
    ) -> Result<()> {
        let variables: BTreeMap<String, Tensor> = own.variables().into_iter().collect();
        if let Self::First(count) = self
            && *count > num_blocks
        {
            return Err(Error::config(format!(
                "backbone.freeze = {count}, but the backbone has {num_blocks} blocks; \"all\" freezes everything"
            ))
            .into());
        }
        if let Self::Patterns(patterns) = self
            && let Some(idle) =
                patterns.iter().find(|p| !variables.keys().any(|name| matches(p, name)))
        {
            let example = variables.keys().next().map_or("", String::as_str);
            return Err(Error::config(format!(
                "backbone.freeze: pattern \"{idle}\" matches no variable of the backbone; names look like \"{example}\""
            ))
            .into());
        }
        for (name, variable) in variables {
            if self.chooses(&name, place(&name)) {
                let _ = variable.set_requires_grad(false);
            }
        }
        Ok(())
    }

    fn chooses(&self, name: &str, place: Place) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::First(count) => match place {
                Place::Stem => true,
                Place::Block(index) => index < *count,
                Place::Rest => false,
            },
            Self::Patterns(patterns) => patterns.iter().any(|p| matches(p, name)),
        }
    }
}

/// Where a variable belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Stem,
    Block(usize),
    /// What follows the blocks.
    Rest,
}

impl Place {
    /// The place of a variable of that name, whose block has its index after `blocks` (`blocks.`), if what follows
    /// the blocks begins with one of `rest`.
    #[must_use]
    pub fn of(name: &str, blocks: &str, rest: &[&str]) -> Self {
        let index =
            name.strip_prefix(blocks).and_then(|after| after.split('.').next()?.parse().ok());
        match index {
            Some(index) => Self::Block(index),
            None if rest.iter().any(|rest| name.starts_with(rest)) => Self::Rest,
            None => Self::Stem,
        }
    }
}

/// Gives `vs` the variables of a backbone, which it has built in a store of its own: a path does not list
/// what is below it. Returns them by name.
pub fn publish(own: &nn::VarStore, vs: &nn::Path) -> BTreeMap<String, Tensor> {
    let variables: BTreeMap<String, Tensor> = own.variables().into_iter().collect();
    for (name, variable) in &variables {
        let mut parts: Vec<&str> = name.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let path = parts.into_iter().fold(vs.clone(), |path, part| path / part);
        let _ = path.add(last, variable.shallow_clone(), variable.requires_grad());
    }
    variables
}

impl Serialize for Freeze {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::All => serializer.serialize_str("all"),
            Self::First(count) => serializer.serialize_u64(*count as u64),
            Self::Patterns(patterns) => patterns.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Freeze {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FreezeVisitor)
    }
}

impl JsonSchema for Freeze {
    fn schema_name() -> Cow<'static, str> {
        "Freeze".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({
            "description": "What does not learn: `\"none\"`, `\"all\"`, a number (the stem and that many blocks or \
                            stages), or a list of patterns of variable names, in which `*` matches any run of \
                            characters.",
            "anyOf": [
                { "type": "string", "enum": ["none", "all"] },
                { "type": "integer", "minimum": 0 },
                { "type": "array", "items": { "type": "string" } },
            ],
        })
    }
}

struct FreezeVisitor;

impl<'de> de::Visitor<'de> for FreezeVisitor {
    type Value = Freeze;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("\"none\", \"all\", a number of blocks, or a list of patterns")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Freeze, E> {
        match text {
            "none" => Ok(Freeze::None),
            "all" => Ok(Freeze::All),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Freeze, E> {
        usize::try_from(count)
            .map(Freeze::First)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(count), &self))
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Freeze, E> {
        usize::try_from(count)
            .map(Freeze::First)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(count), &self))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Freeze, A::Error> {
        let mut patterns = Vec::new();
        while let Some(pattern) = items.next_element()? {
            patterns.push(pattern);
        }
        Ok(Freeze::Patterns(patterns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_survives_a_round_trip() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Holder {
            freeze: Freeze,
        }
        for (text, expected) in [
            ("freeze = \"none\"", Freeze::None),
            ("freeze = \"all\"", Freeze::All),
            ("freeze = 3", Freeze::First(3)),
            ("freeze = [\"a\", \"b*\"]", Freeze::Patterns(vec!["a".into(), "b*".into()])),
        ] {
            let parsed: Holder = toml::from_str(text).unwrap();
            assert_eq!(parsed.freeze, expected);
            let again: Holder = toml::from_str(&toml::to_string(&parsed).unwrap()).unwrap();
            assert_eq!(again.freeze, expected);
        }
        let message = toml::from_str::<Holder>("freeze = \"some\"").unwrap_err().to_string();
        assert!(message.contains("a number of blocks"), "{message}");
        assert!(toml::from_str::<Holder>("freeze = -1").is_err());
    }
}
