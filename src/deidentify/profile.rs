//! What the profile does with each attribute: PS3.15, Table E.1-1, in `profile.tsv`.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use dicom_core::Tag;

const TABLE: &str = include_str!("profile.tsv");

/// What happens to the value of an attribute.
///
/// The standard leaves a choice (`X/Z/D` …) by the type that the attribute has in the file's kind of image. The
/// choice here is valid for every type and keeps nothing: a dummy if `D` is among them, otherwise an empty value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `X`: the attribute is removed.
    Remove,
    /// `Z`, `X/Z`: its value becomes empty.
    Empty,
    /// `D`, `X/D`, `Z/D`, `X/Z/D`: a constant takes the place of its value.
    Dummy,
    /// `U`: another UID, the same for the same UID.
    Uid,
    /// `X/Z/U*`: the sequence stays, and its items are treated like the rest of the file.
    Within,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub action: Action,
    /// Whether the option "retain longitudinal temporal information with modified dates" applies.
    pub modified_dates: bool,
    /// Whether the option "retain patient characteristics" keeps the value.
    pub patient_characteristics: bool,
}

/// The table, by tag.
#[derive(Debug)]
pub struct Profile {
    rules: HashMap<Tag, Rule>,
}

/// Groups that the profile removes from: curves, overlays. The rest of such a group is meaningless without
/// what the profile removes, so that whole groups go.
fn is_removed_group(group: u16) -> bool {
    matches!(group & 0xff00, 0x5000 | 0x6000)
}

impl Profile {
    /// Reads the table that is part of the program.
    ///
    /// # Errors
    /// If a row is not understood; names it.
    pub fn read() -> Result<Self> {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        let rules = rows.filter_map(|row| rule(row).with_context(|| row.to_owned()).transpose());
        Ok(Self { rules: rules.collect::<Result<_>>()? })
    }

    /// The rule for `tag`, if the profile has one.
    #[must_use]
    pub fn rule(&self, tag: Tag) -> Option<Rule> {
        const REMOVE: Rule =
            Rule { action: Action::Remove, modified_dates: false, patient_characteristics: false };
        let is_private = tag.group() % 2 == 1;
        if is_private || is_removed_group(tag.group()) {
            return Some(REMOVE);
        }
        self.rules.get(&tag).cloned()
    }

    /// Every tag with a rule of its own.
    pub fn tags(&self) -> impl Iterator<Item = Tag> + '_ {
        self.rules.keys().copied()
    }
}

/// `None` for a row about a range of groups.
fn rule(row: &str) -> Result<Option<(Tag, Rule)>> {
    let columns: Vec<&str> = row.split('\t').collect();
    let [tag, action, dates, patient, _name] = columns[..] else { bail!("not five columns") };
    let action = match action {
        "X" => Action::Remove,
        "Z" | "X/Z" => Action::Empty,
        "D" | "X/D" | "Z/D" | "X/Z/D" => Action::Dummy,
        "U" => Action::Uid,
        "X/Z/U*" => Action::Within,
        other => bail!("unknown action {other}"),
    };
    if tag.contains('x') {
        return Ok(None);
    }
    let (group, element) = tag.split_once(',').context("a tag without comma")?;
    let tag = Tag(u16::from_str_radix(group, 16)?, u16::from_str_radix(element, 16)?);
    let rule = Rule {
        action,
        modified_dates: dates == "C",
        // `C` there is about free text, which is not kept.
        patient_characteristics: patient == "K",
    };
    Ok(Some((tag, rule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        let profile = Profile::read().unwrap();
        assert_eq!(profile.rules.len(), 617);
        let action = |group, element| profile.rule(Tag(group, element)).unwrap().action;
        assert_eq!(action(0x0010, 0x0010), Action::Empty);
        assert_eq!(action(0x0010, 0x1010), Action::Remove);
        assert_eq!(action(0x0008, 0x0018), Action::Uid);
        assert_eq!(action(0x0008, 0x1140), Action::Within);
        assert_eq!(action(0x0018, 0x1000), Action::Dummy);
        assert_eq!(profile.rule(Tag(0x0028, 0x0010)), None);
    }

    #[test]
    fn private_attributes_curves_and_overlays_are_removed() {
        let profile = Profile::read().unwrap();
        for tag in [Tag(0x0019, 0x0010), Tag(0x5002, 0x3000), Tag(0x60fe, 0x0010)] {
            assert_eq!(profile.rule(tag).unwrap().action, Action::Remove, "{tag}");
        }
    }
}
