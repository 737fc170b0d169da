//! Names of output images.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use sonotune_base::Error;

use crate::readers::Unit;

/// `<name>__<key>` for each unit, with characters unsuitable for a file name replaced.
///
/// # Errors
/// Kind data, if two keys give the same name.
pub(super) fn of_units(name: &str, units: &[Unit]) -> Result<Vec<String>> {
    let mut taken = BTreeMap::<String, &str>::new();
    let mut names = Vec::with_capacity(units.len());
    for unit in units {
        let full = format!("{name}__{}", stem(&unit.key));
        // Case-folded: the folder may be copied to a case-insensitive disk.
        if let Some(other) = taken.insert(full.to_lowercase(), &unit.key) {
            bail!(Error::data(format!(
                "the keys `{other}` and `{}` would both be written as {full}.png; change the \
                 spec's `key`",
                unit.key
            )));
        }
        names.push(full);
    }
    Ok(names)
}

fn stem(key: &str) -> String {
    let mut stem = String::with_capacity(key.len());
    for c in key.chars() {
        match c {
            '/' => stem.push_str("__"),
            c if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')' | '+') => {
                stem.push(c)
            }
            _ => stem.push('-'),
        }
    }
    stem
}

/// File name of a frame of a unit.
pub(super) fn of_frame(unit: &str, frame: Option<u32>) -> String {
    match frame {
        Some(frame) => format!("{unit}__{frame:05}.png"),
        None => format!("{unit}.png"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(key: &str) -> Unit {
        Unit { key: key.to_owned(), ..Unit::default() }
    }

    #[test]
    fn names_are_safe_and_unique() {
        let names = of_units("BUSI", &[unit("benign/benign (1)"), unit("a/../b")]).unwrap();
        assert_eq!(names, ["BUSI__benign__benign-(1)", "BUSI__a__..__b"]);
        assert_eq!(of_frame("x", Some(7)), "x__00007.png");
        let error = of_units("X", &[unit("a b"), unit("A-b")]).unwrap_err().to_string();
        assert!(error.contains("`a b` and `A-b`"), "{error}");
    }
}
