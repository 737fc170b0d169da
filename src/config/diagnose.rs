//! Deserialises a tree and reports everything that is wrong with it, each problem at its line.

use sonotune_base::words::{closest, question};

use super::{
    Schema,
    de::{DeError, Kind, one_of},
    keys,
    locate::locate,
    node::{Node, Origin, Value, dotted},
    problem::Problem,
};

/// After this many the cause is something else, e.g. a file that is not a config.
const MAX_PROBLEMS: usize = 20;

/// The typed value, or what is wrong. Serde stops at the first error; here the culprit is removed
/// and the rest tried again, so that one call reports all errors.
pub(super) fn deserialize<T: Schema>(root: &Node) -> Result<T, Vec<Problem>> {
    let attempt = |tree: &Node| T::deserialize(tree).err();
    let mut tree = root.clone();
    let mut problems = Vec::new();
    let mut removed: Vec<Vec<String>> = Vec::new();
    loop {
        let error = match T::deserialize(&tree) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        let path = locate(&tree, &error, &attempt);
        let culprit = match &error.kind {
            Kind::UnknownKey { key, .. } | Kind::MissingKey { key } => {
                [path.as_slice(), std::slice::from_ref(key)].concat()
            }
            _ => path.clone(),
        };
        if removed.contains(&culprit) {
            return Err(problems);
        }
        problems.push(describe(&tree, &path, &error, &attempt, T::TABLES));
        let key_path = nearest_key(&tree, &culprit);
        if problems.len() == MAX_PROBLEMS || tree.remove(&key_path).is_none() {
            return Err(problems);
        }
        removed.push(key_path);
    }
}

/// Elements of arrays cannot be removed without moving the others, so their array is removed.
fn nearest_key(tree: &Node, path: &[String]) -> Vec<String> {
    let in_array = |len: &usize| {
        tree.at(&path[..*len]).is_some_and(|node| matches!(node.value, Value::Array(_)))
    };
    let end = (0..path.len()).find(in_array).unwrap_or(path.len());
    path[..end].to_vec()
}

type Attempt<'a> = &'a dyn Fn(&Node) -> Option<DeError>;

fn describe(
    tree: &Node,
    path: &[String],
    error: &DeError,
    attempt: Attempt<'_>,
    tables: &[&str],
) -> Problem {
    let key = dotted(path);
    let node = tree.at(path);
    let got = node.map_or_else(String::new, |node| node.value.to_string());
    let problem = match &error.kind {
        Kind::UnknownKey { key, known } => return unknown_key(tree, path, key, known, attempt),
        Kind::MissingKey { key } => return missing_key(tree, path, key, attempt),
        Kind::UnknownName { name, known } => return unknown_name(tree, path, name, known, tables),
        Kind::WrongType { expected, .. } | Kind::WrongValue { expected, .. } => {
            let problem =
                Problem::error(format!("`{key}`: expected {}, got {got}", in_words(expected)));
            match (node.map(|n| (&n.value, &n.origin)), expected.as_str()) {
                (Some((value, Origin::Override { .. })), "a string" | "path string")
                    if !matches!(value, Value::Table(_) | Value::Array(_)) =>
                {
                    problem.help("quote it to make it a string: key='\"…\"'")
                }
                _ => problem,
            }
        }
        Kind::WrongLength { expected, .. } => {
            Problem::error(format!("`{key}`: expected {}, got {got}", in_words(expected)))
        }
        Kind::Ignored => Problem::error(format!("unknown key `{key}`: nothing reads it")).help(
            "the type of its table ignores keys that it does not know; with \
             `#[serde(deny_unknown_fields)]` on that struct this message lists the keys it does know",
        ),
        Kind::Other(message) if path.is_empty() => Problem::error(message),
        Kind::Other(message) => Problem::error(format!("`{key}`: {message}")),
    };
    place(problem.key(key), node)
}

fn place(problem: Problem, node: Option<&Node>) -> Problem {
    match node {
        Some(node) => problem.at(node.origin.clone()),
        None => problem,
    }
}

fn table_name(path: &[String]) -> String {
    if path.is_empty() { "the top level".to_owned() } else { format!("[{}]", dotted(path)) }
}

fn unknown_key(
    tree: &Node,
    path: &[String],
    key: &str,
    known: &[String],
    attempt: Attempt<'_>,
) -> Problem {
    let full = [path, &[key.to_owned()]].concat();
    let table = tree.at(path);
    let mut known = known.to_vec();
    // A tag is consumed before the fields are read, so serde does not list it.
    if table.is_some_and(|t| t.child("type").is_some()) && !known.iter().any(|k| k == "type") {
        known.insert(0, "type".to_owned());
    }
    let mut message = format!("unknown key `{}`", dotted(&full));
    let mut help = Vec::new();
    if let Some(question) = question(key, known.iter().map(String::as_str)) {
        message += &format!("; {question}");
    } else if let Some(elsewhere) = find_elsewhere(key, attempt) {
        help.push(elsewhere);
    }
    let owner = match table.and_then(|t| t.child("type")).and_then(Node::as_str) {
        Some(name) => format!("{} with type = {name:?}", table_name(path)),
        None => table_name(path),
    };
    help.push(format!("keys of {owner}: {}", known.join(", ")));
    let problem = Problem::error(message).key(dotted(&full)).help(help.join("\n"));
    place(problem, tree.at(&full))
}

/// TOML puts a key that follows a `[table]` header into that table, wherever it was meant to go.
fn find_elsewhere(key: &str, attempt: Attempt<'_>) -> Option<String> {
    let homes: Vec<String> = keys::list(attempt)
        .into_iter()
        .filter(|info| info.path.rsplit('.').next() == Some(key))
        .map(|info| info.path)
        .collect();
    if homes.iter().any(|home| home == key) {
        return Some(format!("`{key}` is a top-level key: it must come before the first [table]"));
    }
    let mut homes: Vec<String> = homes.iter().map(|home| format!("`{home}`")).collect();
    homes.dedup();
    (!homes.is_empty()).then(|| format!("there is {}", homes.join(", ")))
}

fn missing_key(tree: &Node, path: &[String], key: &str, attempt: Attempt<'_>) -> Problem {
    let full = [path, &[key.to_owned()]].concat();
    let table = tree.at(path);
    let typed = if key == "type" { keys::type_names(path, attempt) } else { Vec::new() };
    let mut help = Vec::new();
    if !typed.is_empty() {
        help.push(format!("`type` is one of: {}", typed.join(", ")));
    }
    let present: Vec<&str> =
        table.and_then(Node::table).into_iter().flatten().map(|(k, _)| k.as_str()).collect();
    if let Some(near) = closest(key, present) {
        help.push(format!("`{near}` is there; did you mean `{key}`?"));
    }
    let at = if path.is_empty() { String::new() } else { format!(" in {}", table_name(path)) };
    let what = if keys::is_table(&full, tree, attempt) {
        format!("missing table `[{}]`", dotted(&full))
    } else {
        format!("missing key `{key}`{at}")
    };
    let problem = Problem::error(what).key(dotted(&full)).help(help.join("\n"));
    place(problem, table)
}

/// What the author of a plugin is most likely to forget.
const LINK: &str = "\na type in your own crate is available only if that crate is linked, and it is \
                    linked only if\nmain.rs names it: `use my_task as _;` (`sonotune list` shows what \
                    is available)";

/// Whether `path` is the `type` of a table that other crates add types to.
fn takes_plugins(path: &[String], tables: &[&str]) -> bool {
    path.len() == 2 && path.first().is_some_and(|table| tables.contains(&table.as_str()))
}

fn unknown_name(
    tree: &Node,
    path: &[String],
    name: &str,
    known: &[String],
    tables: &[&str],
) -> Problem {
    let key = dotted(path);
    let mut problem = if path.last().is_some_and(|last| last == "type") {
        let owner = table_name(&path[..path.len() - 1]);
        let listed = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        let mut help = format!("linked in: {listed}");
        if takes_plugins(path, tables) && closest(name, known.iter().map(String::as_str)).is_none()
        {
            help += LINK;
        }
        Problem::error(format!("{owner}: unknown type {name:?}")).help(help)
    } else {
        Problem::error(format!("`{key}`: expected {}, got {name:?}", one_of(known)))
    };
    if let Some(near) = closest(name, known.iter().map(String::as_str)) {
        problem.message += &format!("; did you mean {near:?}?");
    }
    place(problem.key(key), tree.at(path))
}

/// serde's expectations, worded for someone who writes TOML.
pub(super) fn in_words(expected: &str) -> String {
    let words = match expected {
        "f64" | "f32" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "path string" => "a path (a string)",
        "a sequence" => "an array",
        "a map" => "a table of values by name",
        _ => return of_types(expected),
    };
    words.to_owned()
}

fn of_types(expected: &str) -> String {
    if let Some(size) = expected.strip_prefix("a tuple of size ") {
        return format!("an array of {size}");
    }
    let opens = |prefix: &str| expected.starts_with(prefix);
    if opens("dyn ") || opens("internally tagged enum ") {
        return "a table with a `type`".to_owned();
    }
    if opens("struct ") {
        return "a table".to_owned();
    }
    expected.to_owned()
}
