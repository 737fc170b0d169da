//! A TOML tree that remembers where each value was written.

use std::{fmt, path::Path, sync::Arc};

/// Where a key of the config was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line, counted from 1, of a file.
    File {
        /// Path as named on the command line or in `extends`.
        file: Arc<Path>,
        line: usize,
    },
    /// A command-line override.
    Override {
        /// Counted from 1.
        position: usize,
        /// As typed.
        text: Arc<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Override { position, text } => {
                write!(f, "override {position} (`{}`)", text.escape_debug())
            }
        }
    }
}

/// A value and where its key (in arrays: the value itself) was given.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Keys in the order of the file.
pub(super) type Table = Vec<(String, Node)>;

#[derive(Debug, Clone)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    /// No key of a config takes a date; kept for the error message if one is given.
    Date(String),
    Array(Vec<Node>),
    Table(Table),
}

impl fmt::Display for Value {
    /// For messages: what the user wrote, in short form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "the whole number {value}"),
            Self::Float(value) => write!(f, "the number {value:?}"),
            Self::String(value) if value.chars().count() > 60 => {
                write!(f, "the string {:?}…", value.chars().take(60).collect::<String>())
            }
            Self::String(value) => write!(f, "the string {value:?}"),
            Self::Date(value) => write!(f, "the date {value}"),
            Self::Array(items) => write!(f, "an array of {}", items.len()),
            Self::Table(_) => f.write_str("a table"),
        }
    }
}

impl Node {
    /// Number of values in it, including itself.
    pub(super) fn num_values(&self) -> usize {
        1 + match &self.value {
            Value::Table(table) => table.iter().map(|(_, node)| node.num_values()).sum(),
            Value::Array(items) => items.iter().map(Self::num_values).sum(),
            _ => 0,
        }
    }

    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(super) fn table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A key of a table, or an element of an array by its index from 0.
    pub(super) fn child(&self, segment: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(table) => table.iter().find(|(key, _)| key == segment).map(|(_, n)| n),
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            _ => None,
        }
    }

    pub(super) fn child_mut(&mut self, segment: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Table(table) => table.iter_mut().find(|(key, _)| key == segment).map(|(_, n)| n),
            Value::Array(items) => items.get_mut(segment.parse::<usize>().ok()?),
            _ => None,
        }
    }

    pub(super) fn at(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |node, segment| node.child(segment))
    }

    /// Where the value at `path` was given. For a short form (a string instead of a table)
    /// it is where the short form was given.
    pub(super) fn origin_at(&self, path: &[String]) -> Option<&Origin> {
        let mut node = self;
        for segment in path {
            match node.child(segment) {
                Some(child) => node = child,
                None if matches!(node.value, Value::Table(_) | Value::Array(_)) => return None,
                None => return Some(&node.origin),
            }
        }
        Some(&node.origin)
    }

    pub(super) fn at_mut(&mut self, path: &[String]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, segment| node.child_mut(segment))
    }

    /// Removes a key from its table; arrays are left alone.
    pub(super) fn remove(&mut self, path: &[String]) -> Option<Self> {
        let (last, parents) = path.split_last()?;
        let table = self.at_mut(parents)?.table_mut()?;
        let index = table.iter().position(|(key, _)| key == last)?;
        Some(table.remove(index).1)
    }

    /// Sets a key of a table, replacing what is there.
    pub(super) fn insert(table: &mut Table, key: &str, node: Self) {
        match table.iter_mut().find(|(k, _)| k == key) {
            Some((_, slot)) => *slot = node,
            None => table.push((key.to_owned(), node)),
        }
    }

    /// Paths of this node and all within, parents first, in the order of the file.
    pub(super) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, here: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
        paths.push(here.clone());
        let mut visit = |segment: String, node: &Self| {
            here.push(segment);
            node.collect_paths(here, paths);
            here.pop();
        };
        match &self.value {
            Value::Table(table) => table.iter().for_each(|(key, node)| visit(key.clone(), node)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, node)| visit(index.to_string(), node));
            }
            _ => {}
        }
    }
}

/// `optimizer.groups.0.lr`: as typed in an override. Keys that are not bare words are quoted.
pub(super) fn dotted(path: &[String]) -> String {
    let bare = |s: &&String| {
        !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let quoted: Vec<String> =
        path.iter().map(|s| if bare(&s) { s.clone() } else { format!("{s:?}") }).collect();
    quoted.join(".")
}
