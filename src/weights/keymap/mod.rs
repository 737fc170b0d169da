//! Naming conventions of checkpoints as tables: what a file calls `image_encoder.blocks.0.norm1`
//! our model calls `backbone.blocks.0.norm1`.
//!
//! A table works both ways, so that models trained here can be saved under upstream's names. Plugins
//! add rows for their heads to any convention:
//!
//! ```
//! use sonotune_weights::keymap::{Rule, RuleSet};
//!
//! inventory::submit! { RuleSet {
//!     convention: "segment_anything",
//!     rules: &[Rule { theirs: "mask_decoder.*", ours: "mask_decoder.*" }],
//! } }
//! ```

mod hiera;
mod huggingface_vits;
mod recognise;
mod resnets;
mod rule;
mod tables;
mod tiny_vit;
mod vits;
mod wrappers;

use anyhow::Result;
use serde::Serialize;
use sonotune_base::words::question;

pub use recognise::{By, CONVENTION_KEY, Recognised, recognise};
pub(super) use recognise::{RUN_KEY, recognise_if_known, refuse_flattened};
pub use rule::{Part, Piece, Rule};
pub use tables::CONVENTIONS;

use sonotune_base::{Error, pattern};

/// How one family of checkpoints names its tensors. A plugin with a backbone of another family
/// submits one, like a [`RuleSet`].
#[derive(Debug, PartialEq, Eq)]
pub struct Convention {
    /// Name as `[weights] convention` spells it.
    pub name: &'static str,
    /// Who writes files with these names.
    pub title: &'static str,
    /// Patterns that each match some key of every file of this family; no other file matches all.
    pub marks: &'static [&'static str],
    /// Their names and ours; the first match counts.
    pub rules: &'static [Rule],
    /// Patterns of their keys that a model of ours may have no use for: other parts of the same
    /// network, which load when the model has them.
    pub known_parts: &'static [&'static str],
    /// Patterns of their keys that never have a place in ours.
    pub dropped: &'static [&'static str],
    /// Patterns of keys that are not part of the model, such as an optimiser's state.
    pub training_state: &'static [&'static str],
}

/// Rows that a plugin adds to a convention; they come before the convention's own.
#[derive(Debug)]
pub struct RuleSet {
    pub convention: &'static str,
    pub rules: &'static [Rule],
}

inventory::collect!(RuleSet);
inventory::collect!(Convention);

/// All conventions, in the order in which they are tried: ours, then those of plugins.
pub fn conventions() -> impl Iterator<Item = &'static Convention> {
    CONVENTIONS.iter().chain(inventory::iter::<Convention>)
}

/// What a convention says about one key of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Our variable's name; several if their tensor holds several of ours.
    Ours(Vec<Piece>),
    /// Never used, by name.
    Dropped,
    /// No rule matches.
    Unknown,
}

impl Convention {
    /// Finds a convention by its name.
    ///
    /// # Errors
    /// When it does not exist; lists the known ones.
    pub fn by_name(name: &str) -> Result<&'static Self> {
        conventions().find(|convention| convention.name == name).ok_or_else(|| {
            let known: Vec<_> = conventions().map(|c| c.name).collect();
            let end = question(name, known.iter().copied())
                .map_or_else(|| ".".to_owned(), |question| format!("; {question}"));
            let known = known.join(", ");
            Error::config(format!("there is no naming convention `{name}`{end} Known: {known}"))
                .into()
        })
    }

    /// Our name for one of theirs.
    #[must_use]
    pub fn to_ours(&self, theirs: &str) -> Place {
        if self.is_dropped(theirs) || self.is_training_state(theirs) {
            return Place::Dropped;
        }
        let mut pieces = Vec::new();
        for mut piece in self.rules().filter_map(|rule| rule.to_ours(theirs)) {
            piece.flat = self.is_flat(theirs);
            let is_whole = piece.theirs.is_none();
            // The first rule counts; rules for parts count together.
            if pieces.is_empty() || !is_whole {
                pieces.push(piece);
            }
            if is_whole {
                break;
            }
        }
        if pieces.is_empty() { Place::Unknown } else { Place::Ours(pieces) }
    }

    /// Their names for one of ours: none if they do not have it, several if they keep it in several
    /// tensors.
    #[must_use]
    pub fn to_theirs(&self, ours: &str) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for mut piece in self.rules().filter_map(|rule| rule.to_theirs(ours)) {
            piece.flat = self.is_flat(&piece.name);
            let is_whole = piece.ours.is_none();
            // As above; the first of several spellings of a part counts.
            if pieces.is_empty() || !is_whole && pieces.iter().all(|p| p.ours != piece.ours) {
                pieces.push(piece);
            }
            if is_whole {
                break;
            }
        }
        pieces
    }

    /// Whether a key belongs to a part that a model may leave unused.
    #[must_use]
    pub fn is_known_part(&self, theirs: &str) -> bool {
        self.known_parts.iter().any(|part| pattern::matches(part, theirs))
    }

    fn is_dropped(&self, theirs: &str) -> bool {
        self.dropped.iter().any(|part| pattern::matches(part, theirs))
    }

    /// Whether a key is not part of the model.
    #[must_use]
    pub fn is_training_state(&self, theirs: &str) -> bool {
        self.training_state.iter().any(|part| pattern::matches(part, theirs))
    }

    fn is_flat(&self, theirs: &str) -> bool {
        vits::FLAT.contains(&(self.name, theirs))
    }

    fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        let name = self.name;
        let added = inventory::iter::<RuleSet>
            .into_iter()
            .filter(move |set| set.convention == name)
            .flat_map(|set| set.rules);
        added.chain(self.rules)
    }
}

impl Serialize for Convention {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_goes_both_ways() {
        for convention in CONVENTIONS {
            for rule in convention.rules {
                let theirs = rule.theirs.replace("{N}", "11").replace('*', "weight");
                let Place::Ours(ours) = convention.to_ours(&theirs) else {
                    panic!("{}: {theirs}", convention.name)
                };
                let back = convention.to_theirs(&ours[0].name);
                let back = back.into_iter().find(|piece| piece.ours == ours[0].ours).unwrap();
                // Several spellings may lead to one of ours; what matters is that ours survives.
                assert_eq!(
                    convention.to_ours(&back.name),
                    Place::Ours(ours),
                    "{}: {theirs} -> {}",
                    convention.name,
                    back.name
                );
            }
        }
    }

    #[test]
    fn names_are_unique_and_misspelt_ones_are_helped() {
        for (i, a) in CONVENTIONS.iter().enumerate() {
            assert!(CONVENTIONS.iter().skip(i + 1).all(|b| a.name != b.name));
        }
        let error = Convention::by_name("ultrasm").unwrap_err().to_string();
        assert!(error.contains("did you mean `ultrasam`?"), "{error}");
        assert!(error.contains("huggingface_sam"), "{error}");
        let error = Convention::by_name("x").unwrap_err().to_string();
        assert!(error.starts_with("there is no naming convention `x`. Known: "), "{error}");
    }
}
