//! Unpacks archives into a work folder: refuses hostile archives, reuses finished ones.
//!
//! [`unpack`] turns a folder or an archive into one sorted listing, a [`Tree`]. Archives inside it
//! that an [`Inner`] names are also unpacked and take the place of their file in the listing; files
//! that are already in a folder are read in place, never copied.
//!
//! Each archive is unpacked to `INTO/<name>-<hash>.partial/`, synced and renamed to
//! `INTO/<name>-<hash>/`, where a record holds the size and time of the archive: a run that is
//! killed loses only the archive in progress, a second run reuses the rest, and a changed archive
//! is unpacked again. Nothing is ever written outside `INTO`.

mod entry;
mod format;
mod listing;
#[cfg(any(test, feature = "miniatures"))]
pub mod pack;
mod rar;
mod seven;
mod slot;
mod source;
mod split;
mod tarball;
mod tree;
mod write;
mod zipped;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use sonotune_base::{Error, stop::StopFlag};

pub use listing::{Listing, reason};
pub use tree::Tree;

use entry::{Gate, LeftOut};
use format::Format;
use slot::{Slot, WorkFolder};
use source::Source;
use tree::{Node, Nodes};
use write::{Budget, Tally, Target};

/// Limits on what a set of archives may unpack to. Archives beyond them are refused as bombs.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Unpacked bytes, all archives together.
    pub max_bytes: u64,
    /// Entries, all archives together.
    pub max_files: u64,
    /// Ratio of unpacked to packed bytes for an entry above 100 MiB (for the whole archive if entries
    /// share one stream: 7z, rar and tar.gz). Volumes that are mostly zeros reach about 1000.
    pub max_ratio: u64,
    /// Nesting of archives; the outermost has depth 1.
    pub max_depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 2 << 40, max_files: 20_000_000, max_ratio: 2000, max_depth: 4 }
    }
}

/// Archives inside the source that are also unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inner {
    /// Glob over the tree's paths: `*` stays within a folder, `**` does not.
    pub files: String,
    /// Where their entries appear.
    #[serde(default)]
    pub into: Into,
}

/// Where the entries of an inner archive `a/b.zip` appear in the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Into {
    /// In the archive's folder: `x/y.png` as `a/x/y.png`.
    #[default]
    Beside,
    /// In a folder named after the archive: `x/y.png` as `a/b/x/y.png`.
    OwnFolder,
}

/// Lists the files of `source`, a folder or an archive; archives are unpacked below `into`.
///
/// zip (also split: `x.z01`, …, `x.zip`), tar, tar.gz, 7z and rar are recognised by their content;
/// each may come in pieces `.001`, `.002`, …. `progress` receives the number of bytes unpacked since
/// its last call, from several threads; a reused archive is reported in one call.
///
/// # Errors
/// The message names the archive and entry, what is wrong and what to do: damaged, incomplete,
/// encrypted or unsupported archives; names that lead out of the folder; duplicate names; entries
/// larger than declared; overlapping entries; exceeded `limits`; a full disk; a requested stop.
pub fn unpack(
    source: &Path,
    inner: &[Inner],
    into: &Path,
    limits: &Limits,
    progress: &(dyn Fn(u64) + Sync),
    stop: &StopFlag,
) -> Result<Tree> {
    let patterns = inner.iter().map(Pattern::new).collect::<Result<Vec<_>>>()?;
    let mut work = Work { into, folder: None, limits, budget: Budget::new(limits), progress, stop };
    let mut nodes = Nodes::default();
    let is_folder = tree::is_folder(source)?;
    if is_folder {
        nodes.add_folder(source, Some(into))?;
    } else {
        work.unpack_outer(source, &mut nodes)?;
    }
    let mut unmatched = work.unpack_inner(&patterns, &mut nodes);
    if !is_folder {
        // Errors name an inner archive by its path in the outer one.
        unmatched = unmatched.with_context(|| format!("in {}", source.display()));
    }
    Ok(nodes.into_tree(unmatched?))
}

/// Whether [`unpack`] made this folder.
#[must_use]
pub fn is_work_folder(folder: &Path) -> bool {
    WorkFolder::is_one(folder)
}

/// A compiled [`Inner`].
struct Pattern<'a> {
    inner: &'a Inner,
    matcher: GlobMatcher,
}

impl<'a> Pattern<'a> {
    fn new(inner: &'a Inner) -> Result<Self> {
        let glob = GlobBuilder::new(&inner.files).literal_separator(true).build().map_err(|e| {
            Error::config(format!("the glob of inner archives {:?} is not valid: {e}", inner.files))
        })?;
        Ok(Self { inner, matcher: glob.compile_matcher() })
    }
}

/// What all archives of one call share.
struct Work<'a> {
    into: &'a Path,
    /// Created and locked at the first archive.
    folder: Option<WorkFolder>,
    limits: &'a Limits,
    budget: Budget,
    progress: &'a (dyn Fn(u64) + Sync),
    stop: &'a StopFlag,
}

impl Work<'_> {
    fn unpack_outer(&mut self, path: &Path, nodes: &mut Nodes) -> Result<()> {
        let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new(""));
        let beside = |name: &str| Some(folder.join(name)).filter(|p| p.is_file());
        let (slot, left_out, _) = self.unpack_one(&key, path, 1, &beside)?;
        nodes.archives.push(key.clone());
        nodes.left_out.add(left_out);
        nodes.add_unpacked(&slot, "", &key, 1)?;
        Ok(())
    }

    /// Unpacks the archives that the patterns match, including those found inside unpacked ones.
    /// Returns the patterns that matched nothing.
    fn unpack_inner(&mut self, patterns: &[Pattern<'_>], nodes: &mut Nodes) -> Result<Vec<String>> {
        let mut matched = vec![false; patterns.len()];
        let mut candidates: Vec<String> = nodes.files.keys().cloned().collect();
        while !candidates.is_empty() {
            let mut found = Vec::new();
            for key in candidates {
                let Some(which) = patterns.iter().position(|p| p.matcher.is_match(&key)) else {
                    continue;
                };
                matched[which] = true;
                // The later parts of a set that has been unpacked are no longer in the listing.
                let Some(node) = nodes.files.get(&key).cloned() else { continue };
                found.extend(self.replace(&key, &node, patterns[which].inner.into, nodes)?);
            }
            candidates = found;
        }
        let unmatched = patterns.iter().zip(matched).filter(|(_, matched)| !matched);
        Ok(unmatched.map(|(pattern, _)| pattern.inner.files.clone()).collect())
    }

    /// Replaces one inner archive by its entries; returns their keys.
    fn replace(
        &mut self,
        key: &str,
        node: &Node,
        into: Into,
        nodes: &mut Nodes,
    ) -> Result<Vec<String>> {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        let place = match into {
            Into::Beside => folder.to_owned(),
            Into::OwnFolder => tree::join(folder, source::stem(name)),
        };
        let beside =
            |name: &str| nodes.files.get(&tree::join(folder, name)).map(|n| n.path.clone());
        let depth = node.depth + 1;
        let (slot, left_out, parts) = self.unpack_one(key, &node.path, depth, &beside)?;
        for part in parts {
            nodes.files.remove(&tree::join(folder, &part));
        }
        nodes.files.remove(key);
        nodes.archives.push(key.to_owned());
        nodes.left_out.add(left_out);
        nodes.add_unpacked(&slot, &place, key, depth)
    }

    /// Unpacks one archive, or reuses it if already unpacked. `key` is its path in the source;
    /// `beside` finds another file of its folder by name. Returns the folder and the names of all parts.
    fn unpack_one(
        &mut self,
        key: &str,
        path: &Path,
        depth: u32,
        beside: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<(PathBuf, LeftOut, Vec<String>)> {
        if depth > self.limits.max_depth {
            return Err(Error::data(format!(
                "{key}: archives are nested more than {} deep, as in a zip bomb; \
                 if you trust it, unpack it by hand and pass the folder",
                self.limits.max_depth
            ))
            .into());
        }
        let source = Source::open(key, path, beside)?;
        let (format, source) = Format::of(source, beside)?;
        let parts = rar::gather(format, &source, beside)?;
        if self.folder.is_none() {
            self.folder = Some(WorkFolder::lock(self.into)?);
        }
        let slot = Slot::new(self.into, key, &parts);
        let record = match slot.reuse() {
            Some(record) => {
                self.budget.charge_reused(key, record.bytes, record.files)?;
                (self.progress)(record.bytes);
                record
            }
            None => slot.fill(|folder| {
                let target = Target {
                    archive: key,
                    folder,
                    budget: &self.budget,
                    progress: self.progress,
                    stop: self.stop,
                    tally: Tally::default(),
                };
                let packed = parts.iter().map(Source::len).sum();
                let mut gate = Gate::new(&target, self.limits, packed);
                match format {
                    Format::Zip => zipped::unpack(&source, &mut gate),
                    Format::Tar => tarball::unpack(&source, false, &mut gate),
                    Format::TarGz => tarball::unpack(&source, true, &mut gate),
                    Format::SevenZ => seven::unpack(&source, &mut gate),
                    Format::Rar => rar::unpack(&parts, &mut gate),
                }?;
                gate.finish()
            })?,
        };
        let names = parts.iter().flat_map(Source::part_names).collect();
        Ok((slot.files(), record.left_out, names))
    }
}
