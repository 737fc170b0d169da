//! TOML text to a [`Node`] tree.

use std::{path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    node::{Node, Origin, Value},
    problem::Problem,
};

/// Larger than any config; keeps a wrong file (weights, say) from being read as one.
const MAX_BYTES: u64 = 4 << 20;

/// Reads and parses one file, without resolving inheritance.
pub(super) fn file(path: &Path) -> Result<Node, Problem> {
    let wrong = |what: String| Problem::error(format!("{}: {what}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if metadata.is_dir() {
        return Err(wrong("is a folder, expected a TOML file".into()));
    }
    if metadata.len() > MAX_BYTES {
        return Err(wrong(format!("has {} bytes, too many for a config", metadata.len())));
    }
    let bytes = std::fs::read(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count();
        Problem::error("not UTF-8 text").at(Origin::File { file: path.into(), line })
    })?;
    text_of(&text, path)
}

/// Parses text; `name` represents its file in messages.
pub(super) fn text_of(text: &str, name: &Path) -> Result<Node, Problem> {
    let lines = Lines::new(text, name);
    let table = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let source = lines.line_text(text, start);
        let mut problem = Problem::error(format!("not valid TOML: {}", error.message()));
        if !source.is_empty() {
            problem = problem.help(format!("the line reads `{source}`"));
        }
        problem.at(lines.origin(start))
    })?;
    let value = table_value(table.get_ref(), &lines)?;
    Ok(Node { value, origin: lines.origin(0) })
}

/// A value as it would be written after `key =`; `None` if it is not TOML.
pub(super) fn inline_value(text: &str, origin: &Origin) -> Option<Node> {
    let document = format!("value = {text}");
    let table = DeTable::parse(&document).ok()?;
    let (_, value) = table.get_ref().iter().next().filter(|_| table.get_ref().len() == 1)?;
    let lines = Lines { file: Path::new("").into(), starts: vec![0] };
    let mut node = node_of(value, 0, &lines).ok()?;
    node.set_origin(origin);
    Some(node)
}

/// The segments of a dotted key, `None` if it is not one.
pub(super) fn dotted_key(text: &str) -> Option<Vec<String>> {
    let document = format!("{text} = 0");
    let parsed = DeTable::parse(&document).ok()?;
    let mut path = Vec::new();
    let mut table = parsed.get_ref();
    loop {
        if table.len() != 1 {
            return None;
        }
        let (key, value) = table.iter().next()?;
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::Integer(_) => return Some(path),
            _ => return None,
        }
    }
}

impl Node {
    fn set_origin(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        match &mut self.value {
            Value::Table(table) => table.iter_mut().for_each(|(_, node)| node.set_origin(origin)),
            Value::Array(items) => items.iter_mut().for_each(|node| node.set_origin(origin)),
            _ => {}
        }
    }
}

/// Converts byte offsets to lines.
struct Lines {
    file: Arc<Path>,
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str, name: &Path) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self { file: name.into(), starts: std::iter::once(0).chain(breaks).collect() }
    }

    fn origin(&self, offset: usize) -> Origin {
        let line = self.starts.partition_point(|start| *start <= offset);
        Origin::File { file: self.file.clone(), line: line.max(1) }
    }

    fn line_text(&self, text: &str, offset: usize) -> String {
        let line = self.starts.partition_point(|start| *start <= offset).max(1) - 1;
        text.lines().nth(line).unwrap_or_default().trim().chars().take(100).collect()
    }
}

fn table_value(table: &DeTable<'_>, lines: &Lines) -> Result<Value, Problem> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        Ok((key.get_ref().to_string(), node_of(value, key.span().start, lines)?))
    };
    Ok(Value::Table(entries.into_iter().map(entry).collect::<Result<_, _>>()?))
}

fn node_of(value: &Spanned<DeValue<'_>>, start: usize, lines: &Lines) -> Result<Node, Problem> {
    let origin = lines.origin(start);
    let wrong = |what: String| Problem::error(what).at(lines.origin(value.span().start));
    let value = match value.get_ref() {
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| wrong(format!("{number} is beyond the range of 64-bit numbers")))?,
        ),
        DeValue::Float(number) => Value::Float(
            number.as_str().parse().map_err(|_| wrong(format!("{number} is not a number")))?,
        ),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| node_of(item, item.span().start, lines))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => table_value(table, lines)?,
    };
    Ok(Node { value, origin })
}
