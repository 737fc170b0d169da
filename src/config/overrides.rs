//! Command-line overrides: `optimizer.lr=1e-4`, `optimizer.groups.0.freeze=true`, `~weights`.

use super::{
    inherit::{self, Reader},
    node::{Node, Origin, Value, dotted},
    parse,
    problem::Problem,
};

/// One parsed argument.
struct Override {
    path: Vec<String>,
    /// `None` removes the key.
    value: Option<Node>,
    origin: Origin,
}

/// Applies the arguments to the tree: removals first, then choices of a `type` (they drop the keys
/// of the former one), then the others, each in the order given.
pub(super) fn apply(
    root: &mut Node,
    arguments: &[String],
    reader: &mut Reader,
) -> Result<(), Problem> {
    let mut parsed = arguments
        .iter()
        .enumerate()
        .map(|(i, a)| parse(i + 1, a))
        .collect::<Result<Vec<_>, _>>()?;
    parsed.sort_by_key(|o| match (&o.value, o.path.last()) {
        (None, _) => 0,
        (Some(_), Some(last)) if last == "type" => 1,
        _ => 2,
    });
    for Override { path, value, origin } in parsed {
        match value {
            None => {
                let entry = Node { value: Value::String(dotted(&path)), origin };
                inherit::remove(root, &entry)?;
            }
            Some(value) => set(root, &path, 0, value, reader)?,
        }
    }
    Ok(())
}

fn parse(position: usize, argument: &str) -> Result<Override, Problem> {
    let origin = Origin::Override { position, text: argument.into() };
    let wrong = |message: &str| {
        Problem::error(message)
            .at(origin.clone())
            .help("write key=value with the key as in the config, e.g. optimizer.lr=1e-4 or run_dir=runs/a; ~key removes a key")
    };
    let (key, value) = match argument.strip_prefix('~') {
        Some(key) => (key, None),
        None => {
            let (key, value) =
                argument.split_once('=').ok_or_else(|| wrong("expected key=value"))?;
            (key, Some(value))
        }
    };
    let path = parse::dotted_key(key)
        .ok_or_else(|| wrong(&format!("{key:?} is not a key of a config")))?;
    let value = value.map(|text| value_node(text, &origin)).transpose()?;
    Ok(Override { path, value, origin })
}

/// A TOML value; anything else is a string, unless it starts like TOML and is malformed.
fn value_node(text: &str, origin: &Origin) -> Result<Node, Problem> {
    match parse::inline_value(text, origin) {
        Some(Node { value: Value::Date(_), .. }) => {}
        Some(node) => return Ok(node),
        None if text.starts_with(['[', '{', '"', '\'']) => {
            return Err(Problem::error(format!("{text:?} is not a valid TOML value"))
                .at(origin.clone())
                .help("note that the shell removes quotes: key='[\"a\", \"b\"]'"));
        }
        None => {}
    }
    Ok(Node { value: Value::String(text.to_owned()), origin: origin.clone() })
}

fn set(
    node: &mut Node,
    path: &[String],
    depth: usize,
    value: Node,
    reader: &mut Reader,
) -> Result<(), Problem> {
    let Some(segment) = path.get(depth) else {
        let below = std::mem::replace(node, value.clone());
        *node = reader.merge(below, value, &mut path.to_vec());
        return Ok(());
    };
    let here = dotted(&path[..depth]);
    if segment == "type" && depth + 1 == path.len() {
        reader.retype(node, &value, &path[..depth]);
    }
    match &mut node.value {
        Value::Table(table) => {
            if !table.iter().any(|(key, _)| key == segment) {
                let empty = Node { value: Value::Table(Vec::new()), origin: value.origin.clone() };
                table.push((segment.clone(), empty));
            }
        }
        Value::Array(items) => {
            if segment.parse::<usize>().is_ok_and(|i| i < items.len()) {
            } else {
                let last = items.len().checked_sub(1).map_or("it is empty".to_owned(), |last| {
                    format!("its elements are 0 to {last}")
                });
                let message = format!("`{here}` is an array; {segment:?} is not an index: {last}");
                return Err(Problem::error(message).key(here).at(value.origin));
            }
        }
        other => {
            let message =
                format!("`{}` cannot be set: `{here}` is {other}, not a table", dotted(path));
            let set_at = format!("`{here}` is set at {}", node.origin);
            return Err(Problem::error(message).key(here).at(value.origin).help(set_at));
        }
    }
    match node.child_mut(segment) {
        Some(child) => set(child, path, depth + 1, value, reader),
        None => Ok(()),
    }
}
