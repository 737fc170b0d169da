//! The error about a file that does not fit, with the config lines that allow the differences.

use std::{collections::HashSet, fmt::Write};

use super::{
    keymap::Place,
    report::{LoadReport, Misshapen, SHOWN},
};
use crate::addition;
use sonotune_base::{pattern, words::listed};

impl LoadReport {
    /// What does not fit, each list with the line that allows it; `None` if all fits. Nothing allows most
    /// of a backbone to start at random: then backbone and file do not belong together.
    pub(super) fn misfit(&self) -> Option<String> {
        let is_other = self.has_other_backbone();
        let may_allow = |variable: &str| !(is_other && variable.starts_with(BACKBONE));
        let fine: Vec<&str> = self.loaded.iter().map(|l| l.variable.as_str()).collect();
        let mut lists = String::new();
        let mut add = |title: &str, key: &str, shown: Vec<String>, names: Vec<&str>| {
            if shown.is_empty() {
                return;
            }
            let _ = write!(lists, "\n  {title} ({}): {}", shown.len(), listed(shown.iter(), SHOWN));
            if !names.is_empty() {
                let (table, patterns) = (self.own_table(), patterns(&names, &fine));
                let _ = write!(lists, "\n    allow it: {table} {key} = {patterns:?}");
            }
        };
        let missing = self.missing.iter().map(|m| m.variable.as_str());
        let shown = self.missing.iter().map(|m| format!("{} {:?}", m.variable, m.shape));
        let names = missing.filter(|name| may_allow(name)).collect();
        add("missing in the file", "allow_missing", shown.collect(), names);
        let unexpected = self.unexpected.iter().map(|u| u.key.as_str());
        let shown = self.unexpected.iter().map(|u| format!("{} {:?}", u.key, u.shape));
        let names = unexpected.filter(|key| self.ours(key).iter().all(|v| may_allow(v))).collect();
        add("unexpected in the file", "allow_unexpected", shown.collect(), names);
        let misshapen = self.misshapen.iter().map(|m| m.variable.as_str());
        let shown = self.misshapen.iter().map(Misshapen::words);
        let names = misshapen.filter(|name| may_allow(name)).collect();
        add("misshapen", "allow_misshapen", shown.collect(), names);
        if lists.is_empty() {
            return None;
        }
        if is_other {
            lists += "\n  this is not the backbone of the config: check [backbone] and the file";
        }
        if let Some(prefix) = self.common_prefix() {
            let _ = write!(
                lists,
                "\n  all names in the file have the prefix `{prefix}.`; to take it off: {} state_dict = \
                 {:?}",
                self.own_table(),
                self.path_of(prefix)
            );
        }
        Some(format!(
            "{} does not fit the model (naming convention {}); nothing was loaded{lists}",
            self.path.display(),
            self.recognised.words()
        ))
    }

    /// Whether most of the backbone, or whole layers of a stack, differ from the file's.
    fn has_other_backbone(&self) -> bool {
        let missing = of_backbone(self.missing.iter().map(|m| &m.variable));
        let misshapen = of_backbone(self.misshapen.iter().map(|m| &m.variable));
        let mut found = of_backbone(self.loaded.iter().map(|l| &l.variable));
        found.extend(&misshapen);
        let unplaced: Vec<_> = self.unexpected.iter().flat_map(|u| self.ours(&u.key)).collect();
        let unexpected = of_backbone(unplaced.iter());
        let all = missing.len() + found.len();
        2 * missing.len() > all
            || 2 * misshapen.len() > all
            || missing.union(&unexpected).any(|name| is_other_layer(name, &found))
    }

    /// The model's names for a key of the file; empty if it has none.
    fn ours(&self, key: &str) -> Vec<String> {
        match self.recognised.place(key) {
            (_, Place::Ours(pieces), _) => pieces.into_iter().map(|piece| piece.name).collect(),
            _ => Vec::new(),
        }
    }

    /// What all names of the file begin with, if the model has the names without it.
    fn common_prefix(&self) -> Option<&str> {
        let keys: Vec<&str> = self.unexpected.iter().map(|u| u.key.as_str()).collect();
        let prefix = common_start(&keys).strip_suffix('.')?;
        let missing: HashSet<&str> = self.missing.iter().map(|m| m.variable.as_str()).collect();
        let rest = |key: &str| key.get(prefix.len() + 1..).map(|rest| self.ours(rest));
        let mut ours = keys.iter().filter_map(|key| rest(key)).flatten();
        (self.loaded.is_empty() && ours.any(|name| missing.contains(name.as_str())))
            .then_some(prefix)
    }

    fn path_of(&self, prefix: &str) -> String {
        let found_at = &self.state_dict;
        if found_at.is_empty() { prefix.to_owned() } else { format!("{found_at}.{prefix}") }
    }
}

const BACKBONE: &str = "backbone.";

/// Variables of the backbone that a pretrained file should have.
fn of_backbone<'a>(names: impl Iterator<Item = &'a String>) -> HashSet<&'a str> {
    let pretrained = |name: &&str| name.starts_with(BACKBONE) && addition(name).is_none();
    names.map(String::as_str).filter(pretrained).collect()
}

/// Whether the layer of a stack that a variable belongs to is absent, although others of the stack are
/// there: `backbone.blocks.12` beside `backbone.blocks.0`.
fn is_other_layer(name: &str, found: &HashSet<&str>) -> bool {
    let (mut at, parts) = (0, name.split('.'));
    for part in parts {
        let end = at + part.len();
        if part.parse::<u64>().is_ok() {
            let (stack, layer) = (&name[..at], format!("{}.", &name[..end]));
            return !found.iter().any(|other| other.starts_with(&layer))
                && found.iter().any(|other| other.starts_with(stack));
        }
        at = end + 1;
    }
    false
}

/// Up to this many patterns are listed before one that would cover most of a model.
const PATTERNS: usize = 4;

/// Patterns that cover all names; those that would cover `fine` names as well are replaced by others with a
/// `*` for each number only.
fn patterns(names: &[&str], fine: &[&str]) -> Vec<String> {
    let common = common_patterns(names);
    let is_wide = |p: &String| fine.iter().any(|name| pattern::matches(p, name));
    if !common.iter().any(is_wide) {
        return common;
    }
    let star = |part| if str::parse::<u64>(part).is_ok() { "*" } else { part };
    let mut starred: Vec<String> =
        names.iter().map(|name| name.split('.').map(star).collect::<Vec<_>>().join(".")).collect();
    starred.sort();
    starred.dedup();
    starred
}

/// Patterns that cover all names and little more.
fn common_patterns(names: &[&str]) -> Vec<String> {
    let common = common_start(names);
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for name in names {
        let rest = name.get(common.len()..).unwrap_or_default();
        let next = rest.split('.').next().unwrap_or_default();
        match groups.iter_mut().find(|(known, _)| *known == next) {
            Some((_, group)) => group.push(name),
            None => groups.push((next, vec![name])),
        }
    }
    let is_wide = common.matches('.').count() < 2;
    let are_names = groups.iter().all(|(next, _)| next.parse::<u64>().is_err());
    if is_wide && are_names && groups.len() <= PATTERNS {
        return groups.iter().map(|(_, group)| common_pattern(group)).collect();
    }
    vec![common_pattern(names)]
}

/// A pattern that covers all names: what they have in common up to a dot, then `*`.
fn common_pattern(names: &[&str]) -> String {
    match names {
        [only] => (*only).to_owned(),
        _ => format!("{}*", common_start(names)),
    }
}

/// What all names begin with, up to a dot.
fn common_start<'a>(names: &[&'a str]) -> &'a str {
    let mut common = names.first().copied().unwrap_or_default();
    for name in names {
        let same = common.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        common = common.get(..same).unwrap_or_default();
    }
    let dot = common.rfind('.').map_or(0, |dot| dot + 1);
    common.get(..dot).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggested_patterns_cover_the_names_and_little_more() {
        let patterns = |names: &[&str]| patterns(names, &[]).join(" ");
        assert_eq!(patterns(&["head.fc.weight", "head.fc.bias"]), "head.fc.*");
        assert_eq!(patterns(&["head.fc.weight"]), "head.fc.weight");
        assert_eq!(patterns(&["head.a", "neck.b.c", "neck.b.d"]), "head.a neck.b.*");
        assert_eq!(patterns(&["layers.1.a", "layers.10.a"]), "layers.*");
        assert_eq!(patterns(&["x.a.b", "x.a.c", "x.d.0.e", "x.d.1.e"]), "x.a.* x.d.*");
        assert_eq!(patterns(&["x.a", "x.b", "x.c", "x.d", "x.e"]), "x.*");
        let biases = ["x.0.a.bias", "x.1.a.bias", "x.1.b.bias"];
        assert_eq!(super::patterns(&biases, &["x.0.a.weight"]), ["x.*.a.bias", "x.*.b.bias"]);
    }
}
