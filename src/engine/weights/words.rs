//! Sizes, counts and names as people read and misspell them.

/// `375.0 MB`, in powers of ten.
pub(crate) fn bytes_words(bytes: u64) -> String {
    scaled(bytes, &["B", "kB", "MB", "GB", "TB"])
}

/// `93.7 M`.
pub(super) fn numbers_words(count: u64) -> String {
    scaled(count, &["", "k", "M", "G", "T"]).trim_end().to_owned()
}

fn scaled(value: u64, units: &[&str]) -> String {
    if value < 1000 {
        return format!("{value} {}", units[0]);
    }
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 999.95 && unit + 1 < units.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", units[unit])
}

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
