//! Decides which entries of an archive are written, and where: every name is checked before any byte.

use std::collections::HashSet;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sonotune_base::Error;

use super::{
    Limits,
    write::{Target, unreadable},
};

/// The ratio is checked for entries above this size; small ones may well be all zeros.
const RATIO_FROM: u64 = 100 << 20;

/// Counts of files that do not belong to a dataset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeftOut {
    /// Names that begin with a dot, and everything below `__MACOSX` or `.git`.
    pub(super) hidden: u64,
    /// Links, and in folders anything else that is neither a file nor a folder.
    pub(super) links: u64,
}

impl LeftOut {
    pub(super) fn add(&mut self, other: Self) {
        self.hidden += other.hidden;
        self.links += other.links;
    }
}

/// Whether a path is left out: macOS resource forks, hidden files, git's own files.
pub(super) fn is_hidden(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    name.starts_with('.') || folders.split('/').any(|f| f == "__MACOSX" || f == ".git")
}

/// An entry as the archive describes it.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    /// Unpacked bytes.
    pub(super) size: u64,
    /// Packed bytes, if the entry has its own stream.
    pub(super) packed: Option<u64>,
    pub(super) encrypted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    /// Devices, pipes and the like, by name.
    Special(&'static str),
}

impl Kind {
    /// From the type bits of a Unix mode; if they are absent, folders are recognised by other means.
    pub(super) fn of_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Folder,
            0o120_000 => Self::Link,
            0o020_000 | 0o060_000 => Self::Special("a device"),
            0o010_000 => Self::Special("a pipe"),
            0o140_000 => Self::Special("a socket"),
            _ => Self::File,
        }
    }
}

/// What an unpacked archive contained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) left_out: LeftOut,
}

/// Checks the entries of one archive, in its order.
pub(super) struct Gate<'a> {
    pub(super) target: &'a Target<'a>,
    limits: &'a Limits,
    /// Bytes of the archive itself.
    packed: u64,
    files: HashSet<String>,
    folders: HashSet<String>,
    declared: u64,
    left_out: LeftOut,
    admitted: u64,
}

impl<'a> Gate<'a> {
    pub(super) fn new(target: &'a Target<'a>, limits: &'a Limits, packed: u64) -> Self {
        Self {
            target,
            limits,
            packed,
            files: HashSet::new(),
            folders: HashSet::new(),
            declared: 0,
            left_out: LeftOut::default(),
            admitted: 0,
        }
    }

    /// The path an entry is written to, relative to the archive's folder; `None` for a folder or
    /// an entry that is left out.
    ///
    /// # Errors
    /// Names the archive, the entry and what is wrong with it.
    pub(super) fn admit(&mut self, entry: &Entry<'_>) -> Result<Option<String>> {
        self.target.go_on()?;
        self.target.budget.charge_entry(self.target.archive)?;
        let path = clean(entry.name).map_err(|wrong| self.refuse(entry.name, &wrong))?;
        if let Kind::Special(what) = entry.kind {
            return Err(self.refuse(entry.name, &format!("is {what}, not a file")));
        }
        if path.is_empty() {
            // `./`, the root itself.
            return match entry.kind {
                Kind::Folder => Ok(None),
                _ => Err(self.refuse(entry.name, "has no name")),
            };
        }
        if entry.kind == Kind::Folder {
            self.note_folders(&path, entry.name)?;
            self.folders.insert(path);
            return Ok(None);
        }
        if entry.kind == Kind::Link {
            self.left_out.links += 1;
            return Ok(None);
        }
        if entry.encrypted {
            return Err(Error::data(format!(
                "{}: entry {:?} is encrypted; unpack the archive by hand with its password and \
                 pass the folder",
                self.target.archive, entry.name
            ))
            .into());
        }
        self.check_size(entry)?;
        self.note_folders(&path, entry.name)?;
        if self.folders.contains(&path) || !self.files.insert(path.clone()) {
            return Err(
                self.refuse(entry.name, "occurs twice, and it is unclear which one is meant")
            );
        }
        if is_hidden(&path) {
            self.left_out.hidden += 1;
            return Ok(None);
        }
        self.admitted += 1;
        Ok(Some(path))
    }

    /// Unpacked bytes of all admitted entries, as the archive declares them.
    pub(super) fn declared(&self) -> u64 {
        self.declared
    }

    /// Compares what was written with what was admitted, so that a reader that skips entries does
    /// not go unnoticed.
    pub(super) fn finish(&self) -> Result<Counts> {
        let (files, bytes) = self.target.written();
        if files == self.admitted {
            return Ok(Counts { files, bytes, left_out: self.left_out });
        }
        let what = format!("only {files} of {} entries could be found in its data", self.admitted);
        Err(unreadable(self.target.archive, &what))
    }

    /// The text of a stored name. `by_hand` unpacks the archive for a given encoding of names.
    ///
    /// # Errors
    /// If it is not UTF-8: in a guessed encoding it would be another name.
    pub(super) fn text(&self, name: &[u8], by_hand: &str) -> Result<String> {
        let text = str::from_utf8(name).map(str::to_owned);
        text.map_err(|_| {
            Error::data(format!(
                "{}: entry \"{}\" has a name that is not UTF-8, and the archive does not say what \
                 its encoding is; unpack it by hand with the encoding of the system that packed it \
                 (Chinese Windows: GBK, as in `{by_hand}`) and pass the folder",
                self.target.archive,
                name.escape_ascii()
            ))
            .into()
        })
    }

    pub(super) fn refuse(&self, entry: &str, wrong: &str) -> anyhow::Error {
        Error::data(format!(
            "{}: entry {entry:?} {wrong}; the archive is not unpacked. Download it again from its \
             publisher, or inspect it, unpack it by hand and pass the folder",
            self.target.archive
        ))
        .into()
    }

    fn check_size(&mut self, entry: &Entry<'_>) -> Result<()> {
        self.declared = self.declared.saturating_add(entry.size);
        self.target.budget.check(self.target.archive, self.declared)?;
        match entry.packed {
            Some(packed) => self.check_ratio(entry.name, entry.size, packed),
            None => self.check_ratio(entry.name, self.declared, self.packed),
        }
    }

    fn check_ratio(&self, entry: &str, size: u64, packed: u64) -> Result<()> {
        if size <= RATIO_FROM || size / self.limits.max_ratio.max(1) <= packed {
            return Ok(());
        }
        Err(self.refuse(
            entry,
            &format!(
                "expands {packed} bytes to {size}, more than {} times as much, as in a bomb",
                self.limits.max_ratio
            ),
        ))
    }

    /// Records the folders above `path`, none of which may be a file.
    fn note_folders(&mut self, path: &str, name: &str) -> Result<()> {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            if self.files.contains(folder) {
                return Err(self.refuse(name, &format!("is below {folder:?}, which is a file")));
            }
            if !self.folders.contains(folder) {
                self.folders.insert(folder.to_owned());
            }
        }
        Ok(())
    }
}

/// Whether a name is marked as that of a folder.
pub(super) fn is_folder(name: &str) -> bool {
    name.ends_with(['/', '\\'])
}

/// A name as a relative path of plain components, empty for the root; otherwise what is wrong with it.
/// A backslash separates folders: some packers on Windows write it.
fn clean(name: &str) -> Result<String, String> {
    if name.contains('\0') {
        return Err("has a NUL byte in its name".to_owned());
    }
    let name = name.replace('\\', "/");
    if name.starts_with('/') {
        return Err("has an absolute path, which leads out of the folder".to_owned());
    }
    let bytes = name.as_bytes();
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Err("begins with a drive letter, which leads out of the folder".to_owned());
    }
    let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.contains(&"..") {
        return Err("has `..` in its path, which leads out of the folder".to_owned());
    }
    if let Some(long) = parts.iter().find(|p| p.len() > 255) {
        return Err(format!("has a name of {} bytes, more than file systems allow", long.len()));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_are_refused() {
        let outside = ["/etc/passwd", "../x", "a/../../x", "a/..", "C:/x", "c:x", "a\0b", "//x"];
        for name in outside {
            assert!(clean(name).is_err(), "{name:?}");
            assert!(clean(&name.replace('/', "\\")).is_err(), "{name:?}");
        }
        assert!(clean(&"x".repeat(256)).is_err());
        assert_eq!(clean("./a//b/./c.png").unwrap(), "a/b/c.png");
        assert_eq!(clean("a\\b/c\\d.png").unwrap(), "a/b/c/d.png");
        assert_eq!(clean("..a/b..").unwrap(), "..a/b..");
        assert_eq!(clean("./").unwrap(), "");
    }

    #[test]
    fn hidden_files_are_told_by_name_and_folder() {
        for path in [".x", "a/._x.png", "__MACOSX/a/x.png", "a/__MACOSX/x", ".git/HEAD"] {
            assert!(is_hidden(path), "{path}");
        }
        // Some datasets do keep images below folders that begin with a dot.
        for path in ["x", ".a/x.png", "a.b/x.png", "MACOSX/x"] {
            assert!(!is_hidden(path), "{path}");
        }
    }
}
