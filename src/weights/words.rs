//! Variable names in groups, for lists that people read.

/// Groups names by what they have in common: `prompt_encoder.* (16)`.
pub(super) fn grouped<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let counts = count(names.map(|name| match name.rsplit_once('.') {
        // Dropped because of its last component, so that is what it shares with others.
        Some((_, last @ "num_batches_tracked")) => format!("*.{last}"),
        _ => match name.split_once('.') {
            Some((first, _)) => format!("{first}.*"),
            None => name.to_owned(),
        },
    }));
    counts.into_iter().map(|(name, n)| format!("{name} ({n})")).collect()
}

/// Counts equal names, in order of first appearance.
pub(super) fn count(names: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for name in names {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, n)) => *n += 1,
            None => counts.push((name, 1)),
        }
    }
    counts
}
