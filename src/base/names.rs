//! Category names: the same in every split, whatever their order and ids.

use std::{collections::HashMap, fmt::Write as _};

use crate::words;

/// `"benign", "malignant"`, cut short when long.
pub fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    words::listed(names.iter().map(|n| format!("\"{}\"", n.as_ref())), 40)
}

/// The first name that occurs twice.
pub fn duplicate<S: AsRef<str>>(names: &[S]) -> Option<&str> {
    let mut seen = HashMap::new();
    names.iter().map(AsRef::as_ref).find(|name| seen.insert(*name, ()).is_some())
}

/// In words how `found` differs from `expected` as a set; `None` when it does not.
pub fn mismatch(found: &[&str], expected: &[&str]) -> Option<String> {
    let absent = |from: &[&str], of: &[&str]| -> Vec<String> {
        of.iter()
            .filter(|name| !from.contains(name))
            .map(|name| format!("\"{name}\"{}", words::did_you_mean(name, from.iter().copied())))
            .collect()
    };
    let (unknown, missing) = (absent(expected, found), absent(found, expected));
    if unknown.is_empty() && missing.is_empty() {
        return None;
    }
    let mut text = String::from("its categories are not the expected ones:");
    if !unknown.is_empty() {
        let _ = write!(text, " unknown {};", unknown.join(", "));
    }
    if !missing.is_empty() {
        let _ = write!(text, " missing {};", missing.join(", "));
    }
    let _ = write!(text, " it has [{}], expected are [{}]", quoted(found), quoted(expected));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_lists_both_sides() {
        assert_eq!(mismatch(&["b", "a"], &["a", "b"]), None);
        assert_eq!(
            mismatch(&["bening"], &["benign", "cyst"]).unwrap(),
            "its categories are not the expected ones: unknown \"bening\" (did you mean \
             \"benign\"?); missing \"benign\" (did you mean \"bening\"?), \"cyst\"; it has \
             [\"bening\"], expected are [\"benign\", \"cyst\"]"
        );
    }

    #[test]
    fn the_first_repeat_is_found() {
        assert_eq!(duplicate(&["a", "b", "a", "b"]), Some("a"));
        assert_eq!(duplicate(&["a", "b"]), None);
    }
}
