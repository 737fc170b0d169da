//! `extends`, `unset` and merging.

use std::path::{Component, Path, PathBuf};

use sonotune_base::words::question;

use super::{
    node::{Node, Value, dotted},
    parse,
    problem::Problem,
};

/// Far more than any sensible inheritance; limits what a diamond of lists can multiply into.
const MAX_FILES: usize = 256;
/// Limit on keys and elements of all these files; merging is quadratic in their number.
const MAX_VALUES: usize = 20_000;

/// Follows `extends` from one file.
#[derive(Default)]
pub(super) struct Reader {
    /// Files that are being read, outermost first: path as named, and canonical path.
    chain: Vec<(PathBuf, PathBuf)>,
    num_files: usize,
    num_values: usize,
    /// Keys dropped because a nearer file or an override chose another `type`.
    pub(super) notes: Vec<Problem>,
}

impl Reader {
    /// The tree of a file on top of its parents'.
    pub(super) fn read(&mut self, path: &Path) -> Result<Node, Problem> {
        self.num_files += 1;
        if self.num_files > MAX_FILES {
            let message = format!("`extends` leads to more than {MAX_FILES} files");
            return Err(Problem::error(message));
        }
        let mut own = parse::file(path)?;
        self.num_values += own.num_values();
        if self.num_values > MAX_VALUES {
            let message = format!(
                "{}: more than {MAX_VALUES} values, with those of the files it inherits from: too \
                 many for a config",
                path.display()
            );
            return Err(Problem::error(message));
        }
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.chain.push((path.to_owned(), canonical));
        let parents = take_strings(&mut own, "extends")?;
        let unset = take_strings(&mut own, "unset")?;
        let mut base: Option<Node> = None;
        for parent in &parents {
            let tree = self.read_parent(path, parent)?;
            base = Some(self.on_top(base, tree));
        }
        self.chain.pop();
        let mut base = base.unwrap_or_else(|| empty_like(&own));
        for entry in &unset {
            remove(&mut base, entry)?;
        }
        Ok(self.merge(base, own, &mut Vec::new()))
    }

    /// The tree of the first file, with those of the others on top.
    pub(super) fn read_layers(&mut self, paths: &[PathBuf]) -> Result<Node, Problem> {
        let mut merged: Option<Node> = None;
        for path in paths {
            let layer = self.read(path)?;
            merged = Some(self.on_top(merged, layer));
        }
        merged.ok_or_else(|| Problem::error("no config file is given"))
    }

    fn read_parent(&mut self, child: &Path, parent: &Node) -> Result<Node, Problem> {
        let relative = parent.as_str().unwrap_or_default();
        let path = without_detours(&child.parent().unwrap_or(Path::new("")).join(relative));
        let here = |problem: Problem| problem.key("extends").at(parent.origin.clone());
        if !path.is_file() {
            let message = format!("`extends` names {}, which is not a file", path.display());
            let help = "the path is relative to the folder of the file that contains `extends`";
            return Err(here(Problem::error(message).help(help)));
        }
        let canonical = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(start) = self.chain.iter().position(|(_, c)| *c == canonical) {
            let names = self.chain[start..].iter().map(|(named, _)| named.display().to_string());
            let circle: Vec<String> = names.chain([path.display().to_string()]).collect();
            return Err(here(Problem::error(format!(
                "`extends` goes in a circle: {}",
                circle.join(" → ")
            ))));
        }
        self.read(&path)
    }

    fn on_top(&mut self, below: Option<Node>, over: Node) -> Node {
        match below {
            Some(below) => self.merge(below, over, &mut Vec::new()),
            None => over,
        }
    }

    /// `over` on top of `base`: tables merge key by key, everything else replaces.
    /// `path` is where both are in the config.
    pub(super) fn merge(&mut self, mut base: Node, over: Node, path: &mut Vec<String>) -> Node {
        if let Some(name) = over.child("type") {
            self.retype(&mut base, name, path);
        }
        match (base.value, over.value) {
            (Value::Table(mut table), Value::Table(entries)) => {
                for (key, node) in entries {
                    let Some(slot) = table.iter_mut().find(|(k, _)| *k == key) else {
                        table.push((key, node));
                        continue;
                    };
                    path.push(key);
                    let below = std::mem::replace(&mut slot.1, empty_like(&node));
                    slot.1 = self.merge(below, node, path);
                    path.pop();
                }
                Node { value: Value::Table(table), origin: over.origin }
            }
            (_, value) => Node { value, origin: over.origin },
        }
    }

    /// Keys of one `type` mean nothing to another, so they are dropped with it.
    pub(super) fn retype(&mut self, base: &mut Node, name: &Node, path: &[String]) {
        let same = base.child("type").is_none_or(|old| old.as_str() == name.as_str());
        let Some(table) = base.table_mut().filter(|_| !same) else { return };
        let dropped: Vec<String> =
            table.drain(..).map(|(key, _)| key).filter(|key| key != "type").collect();
        if !dropped.is_empty() {
            let key = dotted(&[path, &["type".to_owned()]].concat());
            let message = format!(
                "`{key}` differs from the inherited one, so the inherited {} {} dropped",
                dropped.join(", "),
                if dropped.len() == 1 { "is" } else { "are" }
            );
            self.notes.push(Problem::warning(message).key(key).at(name.origin.clone()));
        }
    }
}

/// `configs/base/x.toml` for `configs/demo/../base/x.toml`, unless a symbolic link on the way makes
/// them different files.
fn without_detours(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match (part, short.components().next_back()) {
            (Component::ParentDir, Some(Component::Normal(_))) => {
                short.pop();
            }
            _ => short.push(part),
        }
    }
    match (path.canonicalize(), short.canonicalize()) {
        (Ok(long), Ok(canonical)) if long == canonical => short,
        _ => path.to_owned(),
    }
}

fn empty_like(node: &Node) -> Node {
    Node { value: Value::Table(Vec::new()), origin: node.origin.clone() }
}

/// Removes and returns a top-level key that holds a string or an array of strings.
fn take_strings(own: &mut Node, key: &str) -> Result<Vec<Node>, Problem> {
    let Some(node) = own.remove(&[key.to_owned()]) else { return Ok(Vec::new()) };
    let items = match node.value {
        Value::Array(items) => items,
        _ => vec![node],
    };
    match items.iter().find(|item| item.as_str().is_none()) {
        None => Ok(items),
        Some(wrong) => Err(Problem::error(format!(
            "`{key}`: expected a string or an array of strings, got {}",
            wrong.value
        ))
        .key(key)
        .at(wrong.origin.clone())),
    }
}

/// Removes an inherited key; `entry` holds its dotted path.
pub(super) fn remove(base: &mut Node, entry: &Node) -> Result<(), Problem> {
    let text = entry.as_str().unwrap_or_default();
    let here = |problem: Problem| problem.at(entry.origin.clone());
    let Some(path) = parse::dotted_key(text) else {
        return Err(here(Problem::error(format!("{text:?} is not a key, expected `table.key`"))));
    };
    if base.remove(&path).is_some() {
        return Ok(());
    }
    let all: Vec<String> = base.paths().iter().skip(1).map(|p| dotted(p)).collect();
    let mut problem = Problem::error(format!("`{text}` cannot be unset: it is not set")).key(text);
    if let Some(question) = question(text, all.iter().map(String::as_str)) {
        problem = problem.help(question);
    }
    Err(here(problem))
}
