//! Where a saved object keeps the model's state dict.

use std::collections::HashSet;

use anyhow::Result;

use super::{
    Archive,
    state_dict::{NAME_BYTES, OtherContent, Walk, describe, join},
};
use crate::{entry::TensorEntry, pickle::Id, words::grouped};
use sonotune_base::words::question;

/// The model's weights and what else the file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Dotted path of the state dict; empty at the top.
    pub(crate) found_at: String,
    pub(crate) entries: Vec<TensorEntry>,
    pub(crate) others: Vec<OtherContent>,
    /// Containers beside the state dict that could also be one: path and names of the tensors.
    pub(crate) rivals: Vec<(String, Vec<String>)>,
}

/// Keys under which training frameworks put a model's state dict, most specific first.
const WRAPPERS: [&str; 8] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
];

/// Keys of second models, followed if the file holds no other.
const SECOND: [&str; 7] =
    ["state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "teacher", "student"];

/// Levels of wrappers followed.
const MAX_WRAPPERS: usize = 4;

/// Finds the state dict: at the path that is asked for, and from there under well-known keys (also nested),
/// else in the whole object.
pub(crate) fn find(archive: &Archive, wanted: &str) -> Result<Contents> {
    let mut way = Way { archive, at: archive.root, contents: Contents::default() };
    let mut rest = wanted;
    while !rest.is_empty() {
        let (key, further) = rest.split_once('.').unwrap_or((rest, ""));
        let Some(inner) = way.container(key) else { break };
        way.enter(key, inner)?;
        rest = further;
    }
    // Its siblings were not asked for.
    way.contents.rivals.clear();
    for _ in 0..MAX_WRAPPERS {
        let Some((key, inner)) = way.wrapper().filter(|_| rest.is_empty()) else { break };
        way.enter(key, inner)?;
    }
    let mut walk = Walk::new(archive);
    walk.flatten(way.at, "", 0)?;
    archive.ensure_bounded()?;
    let mut contents = way.contents;
    contents.others.extend(walk.others);
    // Python keeps the later one of two equal names.
    let mut seen = HashSet::new();
    contents.entries =
        walk.entries.into_iter().rev().filter(|e| seen.insert(e.name.clone())).collect();
    contents.entries.reverse();
    contents.narrow(rest)?;
    Ok(contents)
}

/// A place in a saved object, and what was passed on the way to it.
struct Way<'a> {
    archive: &'a Archive,
    at: Id,
    contents: Contents,
}

impl Way<'_> {
    /// What is under a key here, if it contains tensors.
    fn container(&self, key: &str) -> Option<Id> {
        self.archive.graph.get(self.at, key).filter(|&inner| self.holds_tensors(inner))
    }

    fn holds_tensors(&self, id: Id) -> bool {
        self.archive.tensor(id, "").is_ok_and(|found| found.is_none())
            && Walk::new(self.archive).any_tensor(id)
    }

    /// The well-known key here under which the state dict is.
    fn wrapper(&self) -> Option<(&'static str, Id)> {
        let of =
            |keys: &[&'static str]| keys.iter().find_map(|key| Some((*key, self.container(key)?)));
        let only_seconds = || {
            let mut pairs = self.archive.graph.pairs(self.at).into_iter();
            pairs.all(|(key, value)| {
                let key = self.archive.key(key);
                let known = SECOND.contains(&key.as_str()) || key.contains("optim");
                known || !Walk::new(self.archive).any_tensor(value)
            })
        };
        of(&WRAPPERS).or_else(|| of(&SECOND).filter(|_| only_seconds()))
    }

    /// Moves to what is under a key here, and notes what is beside it.
    fn enter(&mut self, key: &str, inner: Id) -> Result<()> {
        let archive = self.archive;
        for (other, value) in archive.graph.pairs(self.at) {
            let name = archive.key(other);
            archive.spend(name.len() as u64 / NAME_BYTES);
            archive.ensure_bounded()?;
            if name != key {
                let name = join(&self.contents.found_at, &name);
                if self.holds_tensors(value) {
                    let mut walk = Walk::new(archive);
                    // Damage beside the state dict does not matter.
                    let _ = walk.flatten(value, "", 0);
                    let names = walk.entries.into_iter().map(|entry| entry.name).collect();
                    self.contents.rivals.push((name.clone(), names));
                }
                self.contents.others.push(OtherContent { name, what: describe(archive, value) });
            }
        }
        self.contents.found_at = join(&self.contents.found_at, key);
        self.at = inner;
        Ok(())
    }
}

impl Contents {
    /// Keeps the tensors whose names begin with `path`, under their names without it.
    pub(crate) fn narrow(&mut self, path: &str) -> Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        let below = |name: &str| Some(name.strip_prefix(path)?.strip_prefix('.')?.to_owned());
        let all = std::mem::take(&mut self.entries);
        let (inside, outside): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|entry| below(&entry.name).is_some());
        if inside.is_empty() {
            let names = || outside.iter().map(|entry| entry.name.as_str());
            let heads = names().filter_map(|name| Some(name.split_once('.')?.0));
            let near = question(path, heads).map_or_else(String::new, |near| format!("; {near}"));
            let place = join(&self.found_at, path);
            let held = grouped(names()).join(", ");
            anyhow::bail!("no tensor is under state_dict = {place:?}{near}; it holds {held}");
        }
        let shift = |mut entry: TensorEntry| {
            entry.name = below(&entry.name)?;
            Some(entry)
        };
        self.entries = inside.into_iter().filter_map(shift).collect();
        self.others.extend(outside.into_iter().map(|entry| OtherContent {
            name: join(&self.found_at, &entry.name),
            what: "a tensor".to_owned(),
        }));
        self.found_at = join(&self.found_at, path);
        Ok(())
    }
}
