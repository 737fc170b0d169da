//! Finds the value behind an error inside a table that serde buffered.
//!
//! serde reads an internally tagged enum into a buffer of its own before it knows the variant, so
//! an error inside carries no path below the enum's table. The value is found by experiment: each
//! candidate is replaced by a sentinel, and the one for which the error changes accordingly is it.

use super::{
    de::{DeError, Kind, unexpected},
    node::{Node, Table, Value},
};

/// Not a key or value of any config; prints the same quoted and unquoted.
const SENTINEL: &str = "<sentinel>";

/// The exact path of the value, or of the table that holds or lacks the key. `attempt` deserialises
/// a tree and returns its error.
pub(super) fn locate(
    root: &Node,
    error: &DeError,
    attempt: &dyn Fn(&Node) -> Option<DeError>,
) -> Vec<String> {
    let Some(subtree) = root.at(&error.path) else { return error.path.clone() };
    let candidates: Vec<Vec<String>> = subtree
        .paths()
        .into_iter()
        .map(|below| [error.path.clone(), below].concat())
        .filter(|path| root.at(path).is_some_and(|node| is_candidate(node, &error.kind)))
        .collect();
    if let [only] = candidates.as_slice() {
        return only.clone();
    }
    let found = candidates.iter().find(|path| {
        let mut changed = root.clone();
        let Some(node) = changed.at_mut(path) else { return false };
        plant(node, &error.kind);
        answers(attempt(&changed).as_ref(), error)
    });
    found.or(candidates.first()).unwrap_or(&error.path).clone()
}

fn has(table: &Table, key: &str) -> bool {
    table.iter().any(|(k, _)| k == key)
}

fn is_candidate(node: &Node, kind: &Kind) -> bool {
    match kind {
        Kind::UnknownKey { key, .. } => node.table().is_some_and(|table| has(table, key)),
        Kind::MissingKey { key } => node.table().is_some_and(|table| !has(table, key)),
        Kind::UnknownName { name, .. } => node.as_str() == Some(name),
        Kind::WrongType { got, .. } | Kind::WrongValue { got, .. } => {
            // A buffer keeps integers of both signs; serde words them in the same way.
            unexpected(node).to_string() == *got
        }
        Kind::WrongLength { len, .. } => match &node.value {
            Value::Array(items) => items.len() == *len,
            Value::Table(table) => table.len() == *len,
            _ => false,
        },
        Kind::Ignored | Kind::Other(_) => false,
    }
}

fn plant(node: &mut Node, kind: &Kind) {
    let sentinel = Node { value: Value::String(SENTINEL.into()), origin: node.origin.clone() };
    match (kind, node.table_mut()) {
        (Kind::UnknownKey { key, .. }, Some(table)) => {
            for (name, _) in table.iter_mut().filter(|(name, _)| name == key) {
                SENTINEL.clone_into(name);
            }
        }
        (Kind::MissingKey { key }, Some(table)) => Node::insert(table, key, sentinel),
        _ => *node = sentinel,
    }
}

/// Whether the error changed as it does when the sentinel replaced the culprit: an innocent key
/// gets another list of known keys, an innocent value another expectation.
fn answers(new: Option<&DeError>, old: &DeError) -> bool {
    match (&old.kind, new.map(|e| &e.kind)) {
        (Kind::UnknownKey { known, .. }, Some(Kind::UnknownKey { key, known: now })) => {
            key == SENTINEL && now == known
        }
        (Kind::MissingKey { key }, Some(Kind::UnknownKey { key: refused, .. })) => refused != key,
        (Kind::MissingKey { .. }, _) => new != Some(old),
        (Kind::UnknownName { known, .. }, Some(Kind::UnknownName { name, known: now })) => {
            name == SENTINEL && now == known
        }
        (
            Kind::WrongType { expected, .. }
            | Kind::WrongValue { expected, .. }
            | Kind::WrongLength { expected, .. },
            Some(Kind::WrongType { got, expected: now } | Kind::WrongValue { got, expected: now }),
        ) => now == expected && got.contains(SENTINEL),
        (Kind::WrongType { .. }, Some(Kind::UnknownName { name, .. })) => name == SENTINEL,
        _ => false,
    }
}
