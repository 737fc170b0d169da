//! Which file gives which variable, if weights come from more than one.

use std::collections::BTreeMap;

use anyhow::Result;
use tch::Tensor;

use super::{
    WeightsFile,
    keymap::{Place, Recognised},
    words::grouped,
};
use crate::{WeightsConfig, WeightsPartConfig};
use sonotune_base::{Error, pattern};

/// A file, the variables it has to give, and how far it may differ from them.
pub(super) struct Source<'a> {
    pub(super) file: &'a WeightsFile,
    pub(super) recognised: &'a Recognised,
    pub(super) allowed: Allowed<'a>,
    claim: Claim<'a>,
}

/// How far a file may differ from the model.
#[derive(Clone, Copy)]
pub(super) struct Allowed<'a> {
    pub(super) ignore: &'a [String],
    pub(super) missing: &'a [String],
    pub(super) unexpected: &'a [String],
    pub(super) misshapen: &'a [String],
}

enum Claim<'a> {
    /// All variables that no part claims.
    Rest(&'a [WeightsPartConfig]),
    /// The variables that these patterns match.
    Part(&'a [String]),
}

impl<'a> Source<'a> {
    /// The file at `[weights] path`.
    pub(super) fn main(
        file: &'a WeightsFile,
        recognised: &'a Recognised,
        config: &'a WeightsConfig,
    ) -> Self {
        let allowed = Allowed {
            ignore: &config.ignore,
            missing: &config.allow_missing,
            unexpected: &config.allow_unexpected,
            misshapen: &config.allow_misshapen,
        };
        Self { file, recognised, allowed, claim: Claim::Rest(&config.parts) }
    }

    /// A file at `[[weights.parts]] path`.
    pub(super) fn part(
        file: &'a WeightsFile,
        recognised: &'a Recognised,
        config: &'a WeightsPartConfig,
    ) -> Self {
        let allowed = Allowed {
            ignore: &config.ignore,
            missing: &config.allow_missing,
            unexpected: &config.allow_unexpected,
            misshapen: &config.allow_misshapen,
        };
        Self { file, recognised, allowed, claim: Claim::Part(&config.variables) }
    }

    /// Patterns of its variables; if empty, all that no other file gives.
    pub(super) fn variables(&self) -> &'a [String] {
        match self.claim {
            Claim::Rest(_) => &[],
            Claim::Part(patterns) => patterns,
        }
    }

    pub(super) fn is_part(&self) -> bool {
        matches!(self.claim, Claim::Part(_))
    }

    /// Whether a variable comes from this file.
    pub(super) fn gives(&self, variable: &str) -> bool {
        match self.claim {
            Claim::Rest(parts) => !is_claimed(parts, variable),
            Claim::Part(patterns) => matches_any(patterns, variable),
        }
    }

    /// Whether a tensor can be skipped: what it would fill comes from another file. A tensor that
    /// has no name in our convention is judged by its own.
    pub(super) fn leaves(&self, key: &str, place: &Place) -> bool {
        match place {
            Place::Ours(pieces) => !pieces.iter().any(|piece| self.gives(&piece.name)),
            Place::Unknown => !self.gives(key),
            Place::Dropped => false,
        }
    }
}

/// Whether a variable comes from one of the parts.
#[must_use]
pub fn is_claimed(parts: &[WeightsPartConfig], variable: &str) -> bool {
    parts.iter().any(|part| matches_any(&part.variables, variable))
}

fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern::matches(pattern, name))
}

/// Refuses patterns that claim nothing, and variables that two parts claim.
pub(super) fn check_claims(
    parts: &[WeightsPartConfig],
    variables: &BTreeMap<String, Tensor>,
) -> Result<()> {
    for (i, part) in parts.iter().enumerate() {
        let idle =
            |pattern: &&String| !variables.keys().any(|name| pattern::matches(pattern, name));
        if let Some(pattern) = part.variables.iter().find(idle) {
            return Err(Error::config(format!(
                "weights.parts.{i}.variables: \"{pattern}\" matches no variable of the model, which \
                 has {}",
                grouped(variables.keys().map(String::as_str)).join(", ")
            ))
            .into());
        }
    }
    for name in variables.keys() {
        let claims: Vec<String> = parts
            .iter()
            .enumerate()
            .filter_map(|(i, part)| {
                let pattern = part.variables.iter().find(|p| pattern::matches(p, name))?;
                Some(format!("weights.parts.{i} ({}, \"{pattern}\")", part.path.display()))
            })
            .collect();
        if claims.len() > 1 {
            return Err(Error::config(format!(
                "`{name}` is claimed by {}; every variable comes from one file: make the patterns \
                 of `variables` narrower",
                claims.join(" and by ")
            ))
            .into());
        }
    }
    Ok(())
}
