//! Where in the project's code something happened.

use std::{collections::BTreeMap, path::Path, process::Command};

use crate::Event;

/// How many places of the project's code are named, from the innermost.
const MOST: usize = 3;

/// The lines of this repository that led to an event, innermost first: `plugins/…/task.rs:80 < src/…`.
/// Those of a backward pass have none, since autograd runs them in its own thread. Needs `addr2line`, which
/// comes with the linker; without it, and without debug information, the first frame as it is.
#[must_use]
pub fn place(event: &Event) -> String {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let mut by_file: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, offset) in event.stack.iter().filter_map(|frame| frame.rsplit_once('+')) {
        // Only programs of this project have lines in it, and libtorch takes minutes to search.
        if !file.contains("libtorch") && !file.contains("/libc") {
            by_file.entry(file).or_default().push(offset);
        }
    }
    let lines = by_file.iter().flat_map(|(file, offsets)| lines(file, offsets, &root));
    let own: Vec<String> = lines.take(MOST).collect();
    match (own.as_slice(), event.stack.first()) {
        ([], None) => "(unknown)".to_owned(),
        ([], Some(_)) => "(outside the project's code: a backward pass?)".to_owned(),
        (own, _) => own.join(" < "),
    }
}

fn lines(file: &str, offsets: &[&str], root: &Path) -> Vec<String> {
    let output = Command::new("addr2line").args(["-i", "-e", file]).args(offsets).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let inside = |line: &str| {
        // `/project/src/a.rs:12 (discriminator 3)`; workspace members compile with relative paths.
        let line = line.split(" (").next().unwrap_or_default();
        let own = match Path::new(line).strip_prefix(root) {
            Ok(own) => own,
            Err(_) => return None,
        };
        Some(own.display().to_string())
    };
    text.lines().filter_map(inside).collect()
}
