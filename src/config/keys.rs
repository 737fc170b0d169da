//! Every key that a config can contain, obtained from the types themselves.
//!
//! A key that does not exist is put into a table; the error lists the keys that do. So the list is
//! never out of date, and contains the keys of every plugin that is linked in.

use std::path::Path;

use super::{
    de::{DeError, Kind, one_of},
    diagnose::in_words,
    node::{Node, Origin, Value},
};

/// Not a key of any table nor the name of any type.
const BOGUS: &str = "<bogus>";

/// Depth of nested tables; beyond it something refers to itself.
const MAX_DEPTH: usize = 6;

/// A key of the config.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeyInfo {
    /// Dotted path; an element of an array of tables is written `*`: `optimizer.groups.*.pattern`.
    pub path: String,
    /// What value it takes, in words.
    pub value: String,
    /// For keys that exist only under a certain `type` of their table: that type.
    pub only_for_type: Option<String>,
}

type Attempt<'a> = &'a dyn Fn(&Node) -> Option<DeError>;

/// All keys of the type behind `attempt`.
pub(super) fn list(attempt: Attempt<'_>) -> Vec<KeyInfo> {
    let mut keys = Vec::new();
    let root = node(Value::Table(Vec::new()));
    Explorer { attempt, keys: &mut keys }.table(&root, &[], None);
    keys
}

/// Whether a key holds a table, judged by the error for a table there.
pub(super) fn is_table(path: &[String], tree: &Node, attempt: Attempt<'_>) -> bool {
    let mut tree = tree.clone();
    let Some((last, parents)) = path.split_last() else { return false };
    let Some(table) = tree.at_mut(parents).and_then(Node::table_mut) else { return false };
    Node::insert(table, last, bogus_table());
    match attempt(&tree).map(|e| e.kind) {
        Some(Kind::UnknownKey { key, .. }) => key == BOGUS,
        Some(Kind::MissingKey { key }) => key == "type",
        _ => false,
    }
}

/// The names that the table at `path` accepts as its `type`, as deserialisation itself lists them.
pub(super) fn type_names(path: &[String], attempt: Attempt<'_>) -> Vec<String> {
    let wrap = |inner: Node, key: &str| node(Value::Table(vec![(key.to_owned(), inner)]));
    let leaf = wrap(node(Value::String(BOGUS.into())), "type");
    match attempt(&path.iter().rev().fold(leaf, |inner, key| wrap(inner, key))).map(|e| e.kind) {
        Some(Kind::UnknownName { known, .. }) => known,
        _ => Vec::new(),
    }
}

fn node(value: Value) -> Node {
    Node { value, origin: Origin::File { file: Path::new("").into(), line: 0 } }
}

fn bogus_table() -> Node {
    node(Value::Table(vec![(BOGUS.to_owned(), node(Value::Integer(0)))]))
}

struct Explorer<'a> {
    attempt: Attempt<'a>,
    keys: &'a mut Vec<KeyInfo>,
}

impl Explorer<'_> {
    /// The error of `tree` with `value` at `path`.
    fn probe(&self, tree: &Node, path: &[String], value: Node) -> Option<Kind> {
        let mut tree = tree.clone();
        let (last, parents) = path.split_last()?;
        let table = tree.at_mut(parents)?.table_mut()?;
        Node::insert(table, last, value);
        (self.attempt)(&tree).map(|e| e.kind)
    }

    /// The keys of the table at `path` of `tree`.
    fn table(&mut self, tree: &Node, path: &[String], only_for: Option<&str>) {
        let bogus = [path, &[BOGUS.to_owned()]].concat();
        let Some(Kind::UnknownKey { key, known }) =
            self.probe(tree, &bogus, node(Value::Integer(0)))
        else {
            return;
        };
        if key != BOGUS || path.len() > MAX_DEPTH {
            return;
        }
        for key in known {
            let full = [path, &[key]].concat();
            self.key(tree, &full, only_for);
        }
    }

    fn key(&mut self, tree: &Node, path: &[String], only_for: Option<&str>) {
        let with = |value: Value| {
            let mut tree = tree.clone();
            if let Some((last, parents)) = path.split_last()
                && let Some(table) = tree.at_mut(parents).and_then(Node::table_mut)
            {
                Node::insert(table, last, node(value));
            }
            tree
        };
        match self.probe(tree, path, bogus_table()) {
            Some(Kind::UnknownKey { key, .. }) if key == BOGUS => {
                // Some keys take a table or something shorter; the error for a number shows it.
                let value = match self.probe(tree, path, node(Value::Integer(0))) {
                    Some(Kind::WrongType { expected, .. }) => in_words(&expected),
                    _ => "a table".to_owned(),
                };
                self.push(path, &value, only_for);
                self.table(&with(Value::Table(Vec::new())), path, only_for);
            }
            Some(Kind::MissingKey { key }) if key == "type" => {
                let name = Value::Table(vec![("type".into(), node(Value::String(BOGUS.into())))]);
                self.push(path, "a table", only_for);
                let known = match (self.attempt)(&with(name)).map(|e| e.kind) {
                    Some(Kind::UnknownName { known, .. }) => known,
                    _ => Vec::new(),
                };
                let names = if known.is_empty() { "a name".into() } else { one_of(&known) };
                self.push(&[path, &["type".into()]].concat(), &names, only_for);
                for name in &known {
                    let tag = ("type".to_owned(), node(Value::String(name.clone())));
                    self.table(&with(Value::Table(vec![tag])), path, Some(name));
                }
            }
            Some(Kind::UnknownName { known, .. }) => self.push(path, &one_of(&known), only_for),
            Some(Kind::WrongType { expected, .. }) if expected == "a sequence" => {
                self.array(tree, path, only_for);
            }
            Some(Kind::WrongType { expected, .. }) => {
                self.push(path, &in_words(&expected), only_for);
            }
            // Takes any key, even the probe's: a map.
            _ => match self.probe(tree, path, node(Value::Integer(0))) {
                Some(Kind::WrongType { expected, .. }) => {
                    self.push(path, &in_words(&expected), only_for);
                }
                _ => self.push(path, "a value", only_for),
            },
        }
    }

    fn array(&mut self, tree: &Node, path: &[String], only_for: Option<&str>) {
        match self.probe(tree, path, node(Value::Array(vec![bogus_table()]))) {
            Some(Kind::UnknownKey { key, known }) if key == BOGUS => {
                self.push(path, "an array of tables", only_for);
                for key in known {
                    self.element_key(tree, path, &key, only_for);
                }
            }
            Some(Kind::UnknownName { known, .. }) => {
                self.push(path, &format!("an array of {}", one_of(&known)), only_for);
            }
            Some(Kind::WrongType { expected, .. }) => {
                self.push(path, &format!("an array, each {}", in_words(&expected)), only_for);
            }
            _ => self.push(path, "an array", only_for),
        }
    }

    fn element_key(&mut self, tree: &Node, path: &[String], key: &str, only_for: Option<&str>) {
        let element = node(Value::Table(vec![(key.to_owned(), bogus_table())]));
        let value = match self.probe(tree, path, node(Value::Array(vec![element]))) {
            Some(Kind::WrongType { expected, .. }) => in_words(&expected),
            Some(Kind::UnknownName { known, .. }) => one_of(&known),
            _ => "a value".to_owned(),
        };
        self.push(&[path, &["*".to_owned(), key.to_owned()]].concat(), &value, only_for);
    }

    fn push(&mut self, path: &[String], value: &str, only_for: Option<&str>) {
        self.keys.push(KeyInfo {
            path: path.join("."),
            value: value.to_owned(),
            only_for_type: only_for.map(str::to_owned),
        });
    }
}
