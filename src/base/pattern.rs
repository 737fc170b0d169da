//! Name patterns of the config: `*` matches any run of characters, everything else matches itself.

/// Whether all of `name` matches `pattern`.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(mut part) = parts.next() else { return rest.is_empty() };
    for next in parts {
        // The leftmost match is as good as any: the remaining parts only need room after it.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        part = next;
    }
    rest.ends_with(part)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_match_any_run() {
        assert!(matches("head.*", "head.fc.weight"));
        assert!(matches("*.bias", "backbone.blocks.0.attn.qkv.bias"));
        assert!(matches("*norm*.weight", "backbone.blocks.0.norm1.weight"));
        assert!(matches("a*b*c", "abbc"));
        assert!(matches("exact", "exact"));
        assert!(matches("*", ""));
    }

    #[test]
    fn the_whole_name_must_follow() {
        assert!(!matches("head", "head.fc"));
        assert!(!matches("head.*", "overhead.fc"));
        assert!(!matches("*.bias", "bias_table"));
        assert!(!matches("ab*ba", "aba"));
        assert!(!matches("", "x"));
    }
}
