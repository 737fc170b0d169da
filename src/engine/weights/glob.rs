//! Patterns over names, and the nearest of them.

/// Whether `name` matches `pattern`, in which `*` stands for any run of characters.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    // `split` gives at least one part.
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The leftmost place is never worse than a later one.
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The known name nearest to a misspelt one, when one is near.
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
    fn stars_match_any_run() {
        for (pattern, name) in [
            ("head.*", "head.fc.weight"),
            ("*", ""),
            ("*.bias", "a.b.bias"),
            ("a*b*c", "aXbYbZc"),
            ("exact", "exact"),
            ("a**c", "abc"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("head.*", "heads.fc"),
            ("", "a"),
            ("a*a", "a"),
            ("*.bias", "bias"),
            ("exact", "exactly"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
