//! One row of a key map.

/// Two spellings of one name. `{N}` stands for a number, `*` at the end for the rest; both fill
/// the same places of the other spelling, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub theirs: &'static str,
    pub ours: &'static str,
}

impl Rule {
    pub(super) fn to_ours(self, key: &str) -> Option<String> {
        captures(self.theirs, key).map(|captures| fill(self.ours, &captures))
    }

    pub(super) fn to_theirs(self, key: &str) -> Option<String> {
        captures(self.ours, key).map(|captures| fill(self.theirs, &captures))
    }
}

/// Whether `key` matches a pattern with `{N}` and `*`.
pub(super) fn matches(pattern: &str, key: &str) -> bool {
    captures(pattern, key).is_some()
}

/// What the slots of `pattern` stand for in `key`, or `None` when it does not match.
fn captures<'a>(pattern: &str, key: &'a str) -> Option<Vec<&'a str>> {
    let (mut pattern, mut key) = (pattern, key);
    let mut captures = Vec::new();
    while let Some(at) = pattern.find(['{', '*']) {
        key = key.strip_prefix(&pattern[..at])?;
        pattern = &pattern[at..];
        if pattern == "*" {
            captures.push(key);
            return Some(captures);
        }
        pattern = pattern.strip_prefix("{N}")?;
        let digits = key.find(|c: char| !c.is_ascii_digit()).unwrap_or(key.len());
        if digits == 0 {
            return None;
        }
        captures.push(&key[..digits]);
        key = &key[digits..];
    }
    (pattern == key).then_some(captures)
}

fn fill(pattern: &str, captures: &[&str]) -> String {
    let mut captures = captures.iter();
    let mut filled = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '*']) {
        filled.push_str(&rest[..at]);
        filled.push_str(captures.next().copied().unwrap_or_default());
        rest = rest[at..].strip_prefix("{N}").unwrap_or(&rest[at + 1..]);
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_carry_over() {
        let rule = Rule { theirs: "layers.{N}.ffn.{N}.*", ours: "blocks.{N}.mlp{N}.*" };
        assert_eq!(rule.to_ours("layers.11.ffn.0.lin.bias").unwrap(), "blocks.11.mlp0.lin.bias");
        assert_eq!(rule.to_theirs("blocks.11.mlp0.lin.bias").unwrap(), "layers.11.ffn.0.lin.bias");
        assert_eq!(rule.to_ours("layers.x.ffn.0.bias"), None);
        assert_eq!(rule.to_ours("layers.1.ffn.0"), None);
    }
}
