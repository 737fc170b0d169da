//! The tensors of a saved object under their dotted names, and what else it holds.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{Archive, rebuild::Found};
use crate::{
    entry::TensorEntry,
    pickle::{Id, Node},
};

/// Something in the file that is not part of the model's weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherContent {
    /// Dotted name.
    pub name: String,
    /// In words: `dict of 2, 464 tensors`.
    pub what: String,
}

/// Levels of nesting followed; a state dict has one, a whole pickled module about ten.
const MAX_DEPTH: usize = 40;
/// Values visited in one file. A pickle can name one value in many places, so walking it may
/// take exponentially longer than reading it. Names count too, by their length: one of a megabyte
/// may occur in a hundred thousand places.
const MAX_VISITS: u64 = 1 << 24;
/// Bytes of names that count as one value.
pub(super) const NAME_BYTES: u64 = 16;

pub(crate) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

pub(super) struct Walk<'a> {
    archive: &'a Archive,
    /// Containers on the way to the current one: a cycle returns to one of them.
    open: Vec<Id>,
    pub(super) entries: Vec<TensorEntry>,
    pub(super) others: Vec<OtherContent>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        Self { archive, open: Vec::new(), entries: Vec::new(), others: Vec::new() }
    }

    pub(super) fn flatten(&mut self, id: Id, name: &str, depth: usize) -> Result<()> {
        match self.archive.tensor(id, name)? {
            Some(Found::Tensor(entry)) => {
                // Many tensors may share one tuple of sizes.
                self.archive.spend(2 * entry.shape.len() as u64);
                self.entries.push(entry);
                return Ok(());
            }
            Some(Found::Unreadable(what)) => {
                self.others.push(OtherContent { name: name.to_owned(), what });
                return Ok(());
            }
            None => {}
        }
        let children = self.archive.children(id);
        if children.is_empty() {
            // An attribute of a state dict (`_metadata`) is not content; a stray value is.
            if !name.is_empty() {
                let what = describe(self.archive, id);
                self.others.push(OtherContent { name: name.to_owned(), what });
            }
            return Ok(());
        }
        ensure!(
            depth < MAX_DEPTH && !self.open.contains(&id),
            "`{}` contains itself or is nested deeper than {MAX_DEPTH} levels",
            name.chars().take(80).collect::<String>()
        );
        if depth > 0 && !Walk::new(self.archive).any_tensor(id) {
            let what = describe(self.archive, id);
            self.others.push(OtherContent { name: name.to_owned(), what });
            return Ok(());
        }
        self.open.push(id);
        for (key, child) in children {
            self.archive.spend((name.len() + key.len()) as u64 / NAME_BYTES);
            self.archive.ensure_bounded()?;
            let name = if key.is_empty() { name.to_owned() } else { join(name, &key) };
            self.flatten(child, &name, depth + 1)?;
        }
        self.open.pop();
        Ok(())
    }

    /// Whether there is a tensor anywhere below; each value is visited once.
    pub(super) fn any_tensor(&mut self, id: Id) -> bool {
        self.count_tensors(id, true) > 0
    }

    fn count_tensors(&mut self, id: Id, first_is_enough: bool) -> usize {
        let mut seen = HashSet::new();
        let mut stack = vec![id];
        let mut count = 0;
        while let Some(id) = stack.pop() {
            if !seen.insert(id) {
                continue;
            }
            // A damaged tensor counts as well; reading it reports the damage.
            if !matches!(self.archive.tensor(id, ""), Ok(None)) {
                count += 1;
                if first_is_enough {
                    return count;
                }
                continue;
            }
            stack.extend(self.archive.children(id).into_iter().map(|(_, child)| child));
        }
        count
    }
}

impl Archive {
    /// Counts towards [`MAX_VISITS`].
    pub(super) fn spend(&self, visits: u64) {
        self.visits.set(self.visits.get().saturating_add(visits));
    }

    fn is_exhausted(&self) -> bool {
        self.visits.get() > MAX_VISITS
    }

    pub(super) fn ensure_bounded(&self) -> Result<()> {
        ensure!(
            !self.is_exhausted(),
            "its containers unfold to more than {MAX_VISITS} values, or to names of that size"
        );
        Ok(())
    }

    pub(super) fn key(&self, id: Id) -> String {
        match self.graph.node(id) {
            Node::Str(text) => text.to_string(),
            Node::Int(value) => value.to_string(),
            Node::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Node::Bool(value) => value.to_string(),
            Node::Float(value) => value.to_string(),
            Node::None => "None".to_owned(),
            Node::Tuple(_) => "(tuple)".to_owned(),
            _ => "(object)".to_owned(),
        }
    }

    /// What a container holds, with the part each adds to the dotted name. For a pickled module:
    /// its parameters, buffers and submodules, under the names its state dict would have.
    ///
    /// Counts what it returns; beyond [`MAX_VISITS`] it returns nothing more.
    fn children(&self, id: Id) -> Vec<(String, Id)> {
        if self.is_exhausted() {
            return Vec::new();
        }
        let children = self.all_children(id);
        self.spend(1 + children.len() as u64);
        children
    }

    fn all_children(&self, id: Id) -> Vec<(String, Id)> {
        let indexed = |items: &[Id]| {
            items.iter().enumerate().map(|(i, &item)| (i.to_string(), item)).collect::<Vec<_>>()
        };
        match self.graph.node(id) {
            Node::Dict(_) => self.named_pairs(id),
            Node::Tuple(items) => indexed(items),
            Node::List(items) | Node::Set(items) => indexed(items),
            Node::Call(call) => {
                let mut children = self.named_pairs(id);
                children.extend(indexed(&call.items));
                // Deques, sets, counters: what they were made from.
                for &arg in self.graph.items(call.args).unwrap_or_default() {
                    if let Node::List(items) | Node::Set(items) = self.graph.node(arg)
                        && children.is_empty()
                    {
                        children.extend(indexed(items));
                    }
                }
                if let Some(state) = call.state {
                    // Many objects may share one large state, which is searched for each.
                    self.spend(self.graph.pairs(state).len() as u64);
                    for part in ["_parameters", "_buffers", "_modules"] {
                        if let Some(part) = self.graph.get(state, part) {
                            children.extend(self.named_pairs(part));
                        }
                    }
                }
                children
            }
            _ => Vec::new(),
        }
    }

    fn named_pairs(&self, id: Id) -> Vec<(String, Id)> {
        let mut named = Vec::new();
        for (key, value) in self.graph.pairs(id) {
            if self.is_exhausted() {
                break;
            }
            let key = self.key(key);
            self.spend(key.len() as u64 / (4 * NAME_BYTES));
            named.push((key, value));
        }
        named
    }
}

/// The start of a name that the file gives, for messages.
pub(super) fn shortened(name: &str) -> &str {
    name.char_indices().nth(80).map_or(name, |(end, _)| &name[..end])
}

/// The first few plain values of a dict: `: epoch 3, iter 30000`.
fn scalars(archive: &Archive, pairs: &[(Id, Id)]) -> String {
    let plain = |id| match archive.graph.node(id) {
        Node::Str(text) => text.len() <= 30,
        Node::Int(_) | Node::Float(_) | Node::Bool(_) => true,
        _ => false,
    };
    let shown: Vec<_> = pairs
        .iter()
        .filter(|(_, value)| plain(*value))
        .take(4)
        .map(|&(key, value)| format!("{} {}", archive.key(key), describe(archive, value)))
        .collect();
    if shown.is_empty() { String::new() } else { format!(": {}", shown.join(", ")) }
}

/// Describes a value in a few words.
pub(super) fn describe(archive: &Archive, id: Id) -> String {
    let graph = &archive.graph;
    let container = |kind: String, len: usize| {
        let tensors = Walk::new(archive).count_tensors(id, false);
        let holding = match tensors {
            0 => String::new(),
            1 => ", 1 tensor".to_owned(),
            n => format!(", {n} tensors"),
        };
        format!("{kind} of {len}{holding}")
    };
    match graph.node(id) {
        Node::None => "None".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Int(value) => value.to_string(),
        Node::BigInt(_) => "a large integer".to_owned(),
        Node::Float(value) => value.to_string(),
        Node::Str(text) if text.len() <= 60 => format!("{text:?}"),
        Node::Str(text) => format!("text of {} bytes", text.len()),
        Node::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Node::Stored { len, .. } => format!("{len} bytes"),
        Node::Tuple(items) => container("tuple".to_owned(), items.len()),
        Node::List(items) => container("list".to_owned(), items.len()),
        Node::Set(items) => container("set".to_owned(), items.len()),
        Node::Dict(_) => {
            let pairs = graph.pairs(id);
            container("dict".to_owned(), pairs.len()) + &scalars(archive, &pairs)
        }
        Node::Global { module, name } => format!("{}.{}", shortened(module), shortened(name)),
        Node::Persistent(_) => "a storage".to_owned(),
        Node::Call(call) => {
            let class = match graph.global(call.callable) {
                Some(("collections", name)) => shortened(name).to_owned(),
                Some((module, name)) => format!("{}.{}", shortened(module), shortened(name)),
                None => "an object".to_owned(),
            };
            if !matches!(archive.tensor(id, ""), Ok(None)) {
                return "a tensor".to_owned();
            }
            match archive.children(id).len() {
                0 => class,
                len => container(class, len),
            }
        }
    }
}
