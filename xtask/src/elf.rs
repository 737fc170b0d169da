//! What a program or library asks of the machine it runs on, read from its headers by `objdump`.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::process;

/// `2.28` as `[2, 28]`, ordered by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(Vec<u32>);

impl Version {
    /// `None` if it is not numbers with dots between them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>().map(Self)
    }

    /// Splits `GLIBC_2.28` into name and version; `None` for `GLIBC_PRIVATE` and the like.
    pub(crate) fn named(text: &str) -> Option<(&str, Self)> {
        let (name, version) = text.rsplit_once('_')?;
        Some((name, Self::parse(version)?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Needs of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The newest version of each name: `GLIBC`, `GLIBCXX`, `CXXABI`, `GCC` …
    pub(crate) versions: BTreeMap<String, Version>,
    /// Libraries, by name.
    pub(crate) libraries: Vec<String>,
    /// Folders that the loader searches, as written: `DT_RPATH` and `DT_RUNPATH`.
    pub(crate) run_path: Vec<PathBuf>,
}

impl Needs {
    /// # Errors
    /// If there is no `objdump`, or the file is not for it.
    pub(crate) fn of(file: &Path) -> Result<Self> {
        let mut objdump = Command::new("objdump");
        // The words that are parsed are translated otherwise.
        objdump.arg("-p").arg(file).env("LC_ALL", "C");
        let headers = process::output(&mut objdump)
            .context("objdump reads what a program needs (Debian, Ubuntu: apt install binutils)")?;
        Ok(Self::read(&headers))
    }

    fn read(headers: &str) -> Self {
        let mut needs = Self::default();
        for line in headers.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["NEEDED", library] => needs.libraries.push(library.to_owned()),
                ["RPATH" | "RUNPATH", folders] => {
                    needs.run_path.extend(folders.split(':').map(PathBuf::from));
                }
                // Hash, flags, number, name: a line below "required from".
                [hash, _, _, named] if hash.starts_with("0x") => needs.add(named),
                _ => {}
            }
        }
        needs
    }

    fn add(&mut self, named: &str) {
        let Some((name, version)) = Version::named(named) else { return };
        let newest = self.versions.entry(name.to_owned()).or_insert_with(|| version.clone());
        *newest = version.max(newest.clone());
    }

    /// Takes over what another file needs of the machine.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (name, version) in &other.versions {
            self.add(&format!("{name}_{version}"));
        }
    }

    /// The version of the GNU C library.
    ///
    /// # Errors
    /// If it needs none, as a program of another C library.
    pub(crate) fn glibc(&self) -> Result<&Version> {
        self.versions.get("GLIBC").context("it requires no version of the GNU C library")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &str = "
Dynamic Section:
  NEEDED               libtorch_cpu.so
  NEEDED               libc.so.6
  RUNPATH              $ORIGIN/../../torch/lib:/opt/lib
Version References:
  required from libc.so.6:
    0x06969189 0x00 06 GLIBC_2.9
    0x069691b4 0x00 03 GLIBC_2.34
    0x09691a75 0x00 02 GLIBC_2.2.5
    0x0963cf85 0x00 02 GLIBC_PRIVATE
  required from libstdc++.so.6:
    0x02297f89 0x00 12 GLIBCXX_3.4.9
    0x0297f872 0x00 05 GLIBCXX_3.4.22
";

    #[test]
    fn the_newest_version_is_found_by_number_not_by_text() {
        let needs = Needs::read(HEADERS);
        assert_eq!(needs.glibc().unwrap().to_string(), "2.34");
        assert_eq!(needs.versions["GLIBCXX"].to_string(), "3.4.22");
        assert_eq!(needs.libraries, ["libtorch_cpu.so", "libc.so.6"]);
        assert_eq!(needs.run_path, ["$ORIGIN/../../torch/lib", "/opt/lib"].map(PathBuf::from));
        let mut older = Needs::default();
        older.add("GLIBC_2.17");
        older.merge(&needs);
        assert_eq!(older.glibc().unwrap().to_string(), "2.34");
        assert!(Needs::default().glibc().is_err());
    }

    #[test]
    fn a_program_of_this_machine_needs_what_its_headers_say() {
        let Ok(own) = std::env::current_exe() else { return };
        let needs = Needs::of(&own).unwrap();
        assert!(needs.glibc().unwrap() >= &Version(vec![2, 2, 5]), "{needs:?}");
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"), "{needs:?}");
    }
}
