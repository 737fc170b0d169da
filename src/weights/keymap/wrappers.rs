//! What wrappers of modules and training frameworks put before and between a model's own names.

use std::{borrow::Cow, collections::BTreeSet};

use super::{Convention, conventions, rule};

/// Components that wrappers add to names: `torch.compile`, FSDP, activation checkpointing, Lightning
/// Fabric; the last one, which models also use themselves, data-parallel training.
pub(super) const WRAPPERS: [&str; 6] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
    "module",
];

/// Components that may come before a model's names; a hostile name can have a million.
const DEEPEST: usize = 16;

/// A convention, and the prefixes with which names match all of its marks.
pub(super) type Fit<'a> = (&'static Convention, BTreeSet<&'a str>);

/// The conventions that names follow, if `wrappers` are taken out of them and a prefix is taken off.
pub(super) fn fits<'a>(names: impl Iterator<Item = &'a str>, wrappers: &[&str]) -> Vec<Fit<'a>> {
    let mut found: Vec<_> = conventions()
        .map(|convention| (convention, vec![BTreeSet::new(); convention.marks.len()]))
        .collect();
    for name in names {
        let bare = without(name, wrappers);
        let starts = starts(name, wrappers);
        for (convention, prefixes) in &mut found {
            for (mark, prefixes) in convention.marks.iter().zip(prefixes) {
                let met = starts.iter().filter(|(_, start)| rule::matches(mark, &bare[*start..]));
                prefixes.extend(met.map(|(prefix, _)| *prefix));
            }
        }
    }
    let all = |(convention, prefixes): (_, Vec<BTreeSet<&'a str>>)| {
        let common = prefixes.into_iter().reduce(|a, b| a.intersection(&b).copied().collect())?;
        (!common.is_empty()).then_some((convention, common))
    };
    found.into_iter().filter_map(all).collect()
}

/// Where a model's own name may begin: what comes before it in `name`, and the place in `name` without
/// wrappers.
fn starts<'a>(name: &'a str, wrappers: &[&str]) -> Vec<(&'a str, usize)> {
    let (mut starts, mut at, mut bare) = (Vec::new(), 0, 0);
    for component in name.split('.').take(DEEPEST) {
        if !wrappers.contains(&component) {
            starts.push((&name[..at], bare));
            bare += component.len() + 1;
        }
        at += component.len() + 1;
    }
    starts
}

/// A name without the components that are wrappers'.
pub(super) fn without<'a>(name: &'a str, wrappers: &[&str]) -> Cow<'a, str> {
    if !wrappers.iter().any(|wrapper| name.contains(wrapper)) {
        return Cow::Borrowed(name);
    }
    let own: Vec<&str> = name.split('.').filter(|part| !wrappers.contains(part)).collect();
    Cow::Owned(own.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_model_s_own_name_begins() {
        let name = "module._orig_mod.encoder._fsdp_wrapped_module.conv1.weight";
        assert_eq!(without(name, &WRAPPERS), "encoder.conv1.weight");
        let prefixes: Vec<&str> = starts(name, &WRAPPERS).into_iter().map(|(p, _)| p).collect();
        let inner = "module._orig_mod.encoder._fsdp_wrapped_module.";
        assert_eq!(prefixes, ["module._orig_mod.", inner, &format!("{inner}conv1.")]);
    }

    #[test]
    fn names_of_any_length_are_searched_quickly() {
        let name = "layer1.0.conv1.weight.".repeat(50_000);
        assert!(fits([name.as_str()].into_iter(), &WRAPPERS).is_empty());
    }
}
