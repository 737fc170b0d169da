//! How far a file may differ from the model: the patterns of the config, and what they matched.

use std::collections::HashSet;

use super::{
    keymap::{Piece, Place},
    parts::Allowed,
    report::{LoadReport, Missing, Unplaced},
};
use crate::addition;
use sonotune_base::pattern;

/// The patterns of `ignore` and what they matched.
pub(super) struct Ignored<'a> {
    patterns: &'a [String],
    used: HashSet<&'a str>,
    /// Variables of the model that the file would have filled.
    pub(super) variables: HashSet<String>,
}

impl<'a> Ignored<'a> {
    pub(super) fn new(patterns: &'a [String]) -> Self {
        Self { patterns, used: HashSet::new(), variables: HashSet::new() }
    }

    /// Whether a pattern matches a tensor: its name in the file, with or without the prefix of all
    /// names there, or a variable that it would go into.
    pub(super) fn takes(&mut self, name: &str, key: &str, place: &Place) -> bool {
        let pieces: &[Piece] = if let Place::Ours(pieces) = place { pieces } else { &[] };
        let names = || [name, key].into_iter().chain(pieces.iter().map(|p| p.name.as_str()));
        let met = self.patterns.iter().filter(|p| names().any(|name| pattern::matches(p, name)));
        let met: Vec<&str> = met.map(String::as_str).collect();
        if met.is_empty() {
            return false;
        }
        self.used.extend(met);
        self.variables.extend(pieces.iter().map(|piece| piece.name.clone()));
        true
    }

    pub(super) fn idle(&self) -> Vec<String> {
        let idle = self.patterns.iter().filter(|p| !self.used.contains(p.as_str()));
        idle.map(|pattern| format!("ignore = [\"{pattern}\"] matches nothing")).collect()
    }
}

impl LoadReport {
    /// Pretrained files do not have LoRA and adapters: if a file has none, that is not an error. A
    /// file that has some must have them all.
    pub(super) fn set_new_apart(&mut self) {
        let found = self.loaded.iter().map(|loaded| &loaded.variable);
        let found = found.chain(self.misshapen.iter().map(|misshapen| &misshapen.variable));
        let kinds: HashSet<&str> = found.filter_map(|name| addition(name)).collect();
        let is_new = |missing: &Missing| {
            addition(&missing.variable).is_some_and(|kind| !kinds.contains(kind))
        };
        (self.new, self.missing) = std::mem::take(&mut self.missing).into_iter().partition(is_new);
    }

    /// Moves what the config allows out of the lists of errors, and notes patterns that match nothing.
    pub(super) fn apply_patterns(&mut self, patterns: Allowed<'_>) {
        let mut used = HashSet::new();
        let mut allowed = |patterns: &[String], name: &str| {
            let mut any = false;
            for pattern in patterns.iter().filter(|p| pattern::matches(p, name)) {
                used.insert(pattern.clone());
                any = true;
            }
            any
        };
        // A part for another purpose, such as the classes of ImageNet, does not block one that
        // is to start anew.
        for wrong in std::mem::take(&mut self.misshapen) {
            if allowed(patterns.misshapen, &wrong.variable) {
                self.allowed_misshapen.push(wrong);
            } else if wrong.known_part && allowed(patterns.missing, &wrong.variable) {
                self.unused.push(Unplaced { key: wrong.key, shape: wrong.got });
                self.allowed_missing
                    .push(Missing { variable: wrong.variable, shape: wrong.expected });
            } else {
                self.misshapen.push(wrong);
            }
        }
        // A variable that the file keeps in several tensors is missing once.
        self.allowed_missing.dedup_by(|a, b| a.variable == b.variable);
        for missing in std::mem::take(&mut self.missing) {
            if allowed(patterns.missing, &missing.variable) {
                self.allowed_missing.push(missing);
            } else {
                self.missing.push(missing);
            }
        }
        for unplaced in std::mem::take(&mut self.unexpected) {
            if allowed(patterns.unexpected, &unplaced.key) {
                self.allowed_unexpected.push(unplaced);
            } else {
                self.unexpected.push(unplaced);
            }
        }
        let lists = [
            ("allow_missing", patterns.missing),
            ("allow_unexpected", patterns.unexpected),
            ("allow_misshapen", patterns.misshapen),
        ];
        for (key, patterns) in lists {
            for pattern in patterns.iter().filter(|p| !used.contains(*p)) {
                self.warnings.push(format!("{key} = [\"{pattern}\"] matches nothing"));
            }
        }
    }
}
