//! One row of a key map.

use std::fmt;

use serde::Serialize;

/// Two spellings of one name. `{N}` stands for a number, `*` at the end for the rest; both fill
/// the same places of the other spelling, in order.
///
/// If they keep in one tensor what we keep in several, `theirs` ends with the rows to take, as a
/// share of all: `in_proj_bias[1/3]` is the second of three equal parts,
/// `label_embedding.weight[6-9/11]` the parts 6, 7, 8 and 9 of eleven. If they keep in several
/// tensors what we keep in one, `ours` ends with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub theirs: &'static str,
    pub ours: &'static str,
}

/// Consecutive rows (along the first axis) of a tensor, counted in equal parts of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Part {
    first: i64,
    /// Inclusive.
    last: i64,
    of: i64,
}

/// What a tensor is called on the other side, and which rows of theirs are which of ours. `None`:
/// all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub name: String,
    /// Rows of their tensor.
    pub theirs: Option<Part>,
    /// Rows of our variable.
    pub ours: Option<Part>,
    /// Whether theirs lacks the leading axes of one that ours has.
    pub flat: bool,
}

impl Rule {
    /// Our name for `key`.
    pub(super) fn to_ours(self, key: &str) -> Option<Piece> {
        let ((from, theirs), (to, ours)) = (split_part(self.theirs), split_part(self.ours));
        captures(from, key).map(|captures| Piece {
            name: fill(to, &captures),
            theirs,
            ours,
            flat: false,
        })
    }

    /// Their name for our `key`.
    pub(super) fn to_theirs(self, key: &str) -> Option<Piece> {
        let ((to, theirs), (from, ours)) = (split_part(self.theirs), split_part(self.ours));
        captures(from, key).map(|captures| Piece {
            name: fill(to, &captures),
            theirs,
            ours,
            flat: false,
        })
    }
}

impl Part {
    /// First row and number of rows in a tensor with `rows` rows; `None` if they cannot be divided.
    #[must_use]
    pub fn rows(self, rows: i64) -> Option<(i64, i64)> {
        let each = rows / self.of;
        (each > 0 && rows % self.of == 0).then(|| (self.first * each, self.len() * each))
    }

    /// Whether parts in ascending order make up the whole.
    #[must_use]
    pub fn cover(parts: &[Self]) -> bool {
        let mut next = 0;
        for part in parts {
            if part.first != next {
                return false;
            }
            next = part.last + 1;
        }
        parts.first().is_some_and(|p| p.of == next && parts.iter().all(|q| q.of == p.of))
    }

    fn len(self) -> i64 {
        self.last - self.first + 1
    }
}

impl fmt::Display for Part {
    /// `rows 2 of 3`, counted from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.first + 1, self.last + 1);
        if first == last {
            write!(f, "part {first} of {}", self.of)
        } else {
            write!(f, "parts {first}-{last} of {}", self.of)
        }
    }
}

/// `a[1/3]` to `a` and the part; a spelling without one is whole.
fn split_part(spelling: &str) -> (&str, Option<Part>) {
    let parsed = || {
        let (name, rest) = spelling.strip_suffix(']')?.rsplit_once('[')?;
        let (span, of) = rest.split_once('/')?;
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let number = |text: &str| text.parse().ok();
        Some((name, Part { first: number(first)?, last: number(last)?, of: number(of)? }))
    };
    parsed().map_or((spelling, None), |(name, part)| (name, Some(part)))
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

    fn whole(name: &str) -> Piece {
        Piece { name: name.to_owned(), theirs: None, ours: None, flat: false }
    }

    #[test]
    fn slots_carry_over() {
        let rule = Rule { theirs: "layers.{N}.ffn.{N}.*", ours: "blocks.{N}.mlp{N}.*" };
        let ours = rule.to_ours("layers.11.ffn.0.lin.bias").unwrap();
        assert_eq!(ours, whole("blocks.11.mlp0.lin.bias"));
        let theirs = rule.to_theirs("blocks.11.mlp0.lin.bias").unwrap();
        assert_eq!(theirs.name, "layers.11.ffn.0.lin.bias");
        assert_eq!(rule.to_ours("layers.x.ffn.0.bias"), None);
        assert_eq!(rule.to_ours("layers.1.ffn.0"), None);
    }

    #[test]
    fn parts_of_a_tensor_have_names_of_their_own() {
        let rule = Rule { theirs: "a.{N}.in_proj_bias[1/3]", ours: "a.{N}.k_proj.bias" };
        let piece = rule.to_ours("a.4.in_proj_bias").unwrap();
        assert_eq!(piece.name, "a.4.k_proj.bias");
        assert_eq!(piece.theirs.unwrap().rows(12), Some((4, 4)));
        assert_eq!((piece.theirs.unwrap().rows(10), piece.ours), (None, None));
        let back = rule.to_theirs("a.4.k_proj.bias").unwrap();
        assert_eq!((back.name.as_str(), back.theirs), ("a.4.in_proj_bias", piece.theirs));
        let part = |spelling| split_part(spelling).1.unwrap();
        assert_eq!(part("w[6-9/11]").rows(11), Some((6, 4)));
        assert!(Part::cover(&[part("w[0/3]"), part("w[1-2/3]")]));
        assert!(!Part::cover(&[part("w[0/3]"), part("w[2/3]")]));
        assert!(!Part::cover(&[part("w[0/3]"), part("w[1/3]")]));
        assert_eq!(part("w[1/3]").to_string(), "part 2 of 3");
    }

    #[test]
    fn parts_may_be_ours() {
        let rule = Rule { theirs: "a.{N}.k_proj.bias", ours: "a.{N}.in_proj_bias[1/3]" };
        let piece = rule.to_ours("a.4.k_proj.bias").unwrap();
        assert_eq!((piece.name.as_str(), piece.theirs), ("a.4.in_proj_bias", None));
        assert_eq!(piece.ours.unwrap().rows(12), Some((4, 4)));
        let back = rule.to_theirs("a.4.in_proj_bias").unwrap();
        assert_eq!((back.name.as_str(), back.ours), ("a.4.k_proj.bias", piece.ours));
    }
}
