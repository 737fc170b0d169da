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

/// The known name nearest to a misspelt one, if one is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes_words(999), "999 B");
        assert_eq!(bytes_words(1000), "1.0 kB");
        assert_eq!(bytes_words(374_979_000), "375.0 MB");
        assert_eq!(bytes_words(999_960_000), "1.0 GB");
        assert_eq!(numbers_words(12), "12");
        assert_eq!(numbers_words(93_735_472), "93.7 M");
    }
}
