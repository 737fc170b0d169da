//! What a library defines, in which versions.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{elf::Version, process};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Data,
    /// Data of each thread.
    Local,
}

/// A symbol in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) kind: Kind,
    /// In bytes.
    pub(super) size: u64,
    /// `GLIBC` of `GLIBC_2.28`.
    pub(super) family: String,
    pub(super) version: Version,
}

impl Symbol {
    pub(super) fn version_text(&self) -> String {
        format!("{}_{}", self.family, self.version)
    }
}

/// Everything that a library defines under a version, by name; a name may come more than once.
///
/// # Errors
/// If there is no `objdump`, or the file is not for it.
pub(super) fn of(library: &Path) -> Result<Vec<(String, Symbol)>> {
    let mut objdump = Command::new("objdump");
    objdump.args(["--dynamic-syms", "--wide"]).arg(library).env("LC_ALL", "C");
    let table = process::output(&mut objdump)
        .context("objdump lists a library's symbols (Debian, Ubuntu: apt install binutils)")?;
    Ok(table.lines().filter_map(defined).collect())
}

/// `ADDRESS FLAGS SECTION<tab>SIZE VERSION [VISIBILITY] NAME`, where an older version is in brackets.
fn defined(line: &str) -> Option<(String, Symbol)> {
    let (left, right) = line.split_once('\t')?;
    let section = left.split_whitespace().last()?;
    // What it uses of others, and its versions themselves.
    if ["*UND*", "*ABS*"].contains(&section) {
        return None;
    }
    // Seven columns of flags after the address; the last tells data from functions.
    let kind = match left.split_once(' ')?.1.as_bytes().get(6)? {
        _ if section.starts_with(".t") && section != ".text" => Kind::Local,
        b'O' => Kind::Data,
        _ => Kind::Function,
    };
    let words: Vec<_> = right.split_whitespace().collect();
    let [size, version, .., symbol] = words[..] else { return None };
    let (family, version) = Version::named(version.trim_matches(['(', ')']))?;
    let size = u64::from_str_radix(size, 16).ok()?;
    Some((symbol.to_owned(), Symbol { kind, size, family: family.to_owned(), version }))
}

/// For each name the newest version that is not newer than the limit of its kind; without one, the name is left out.
pub(super) fn newest_within(
    symbols: Vec<(String, Symbol)>,
    limits: &[(&str, &str)],
) -> BTreeMap<String, Symbol> {
    let mut kept = BTreeMap::<String, Symbol>::new();
    let is_within = |symbol: &Symbol| {
        let limit = limits.iter().find(|(family, _)| *family == symbol.family);
        limit.and_then(|(_, limit)| Version::parse(limit)).is_some_and(|l| symbol.version <= l)
    };
    for (name, symbol) in symbols.into_iter().filter(|(_, symbol)| is_within(symbol)) {
        let is_newer = kept.get(&name).is_none_or(|known| known.version < symbol.version);
        if is_newer {
            kept.insert(name, symbol);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "
0000000000000000      DF *UND*\t0000000000000000 (GLIBC_2.3)  __tls_get_addr
0000000000089380 g    DF .text\t0000000000000eed (GLIBC_2.2.5) pthread_create
0000000000089380 g    DF .text\t0000000000000eed  GLIBC_2.34  pthread_create
00000000000a2d70 g    DF .text\t0000000000000028 (GLIBC_2.2.5) memcpy
000000000009be70 g   iD  .text\t0000000000000109  GLIBC_2.14  memcpy
00000000001db320  w   DO .bss\t0000000000000008  GLIBC_2.2.5 environ
000000000010a2a0  w   DF .text\t0000000000000008  GLIBC_2.30  gettid
0000000000000008 g    D  .tbss\t0000000000000008  GLIBC_2.11 once_call
0000000000000000 g    DO *ABS*\t0000000000000000  GLIBC_2.34  GLIBC_2.34
000000000010a2a0 g    DF .text\t0000000000000008  GLIBC_PRIVATE __libc_pread
";

    #[test]
    fn names_come_in_the_newest_version_that_is_old_enough() {
        let symbols = TABLE.lines().filter_map(defined).collect();
        let kept = newest_within(symbols, &[("GLIBC", "2.28")]);
        let shown: Vec<_> =
            kept.iter().map(|(name, s)| (name.as_str(), s.version_text())).collect();
        let expected = [
            ("environ", "2.2.5"),
            ("memcpy", "2.14"),
            ("once_call", "2.11"),
            ("pthread_create", "2.2.5"),
        ];
        assert_eq!(shown, expected.map(|(name, version)| (name, format!("GLIBC_{version}"))));
        assert_eq!((kept["environ"].kind, kept["environ"].size), (Kind::Data, 8));
        assert_eq!(kept["memcpy"].kind, Kind::Function);
        assert_eq!(kept["once_call"].kind, Kind::Local);
    }
}
