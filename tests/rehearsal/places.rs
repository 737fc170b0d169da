//! Where in the project's code something happened.

use std::{collections::BTreeMap, path::Path, process::Command};

use crate::Event;

/// How many lines of the project's code a place names, from the innermost.
const MOST: usize = 3;

/// The lines of this repository that led to each event, innermost first: `plugins/…/task.rs:80 < src/…`.
///
/// A backward pass has none, since autograd runs it in its own thread. Needs `addr2line`, which comes with
/// the linker, and debug information.
#[must_use]
pub fn places(events: &[Event]) -> Vec<String> {
    let mut by_file: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (file, address) in events.iter().flat_map(frames) {
        by_file.entry(file).or_default().push(address);
    }
    let lines: BTreeMap<&str, BTreeMap<u64, Vec<String>>> =
        by_file.into_iter().map(|(file, addresses)| (file, lines(file, addresses))).collect();
    let of = |event: &Event| {
        let own = frames(event).filter_map(|(file, address)| lines.get(file)?.get(&address));
        let own: Vec<&str> = own.flatten().map(String::as_str).take(MOST).collect();
        if own.is_empty() { "outside the project's code".to_owned() } else { own.join(" < ") }
    };
    events.iter().map(of).collect()
}

/// File and address of each frame that may be the project's: libtorch has no lines, and takes minutes to
/// search.
fn frames(event: &Event) -> impl Iterator<Item = (&str, u64)> {
    let frames = event.stack.iter().filter_map(|frame| frame.rsplit_once("+0x"));
    frames.filter(|(file, _)| !file.contains(".so")).filter_map(|(file, offset)| {
        // A frame says where it will go on: the call is before that.
        Some((file, u64::from_str_radix(offset, 16).ok()?.checked_sub(1)?))
    })
}

/// The project's lines of each address, inlined calls from the innermost.
fn lines(file: &str, mut addresses: Vec<u64>) -> BTreeMap<u64, Vec<String>> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    addresses.sort_unstable();
    addresses.dedup();
    let arguments = addresses.iter().map(|address| format!("{address:#x}"));
    let output = Command::new("addr2line").args(["-a", "-i", "-e", file]).args(arguments).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let mut lines: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut address = 0;
    for line in text.lines() {
        if let Some(hex) = line.strip_prefix("0x") {
            address = u64::from_str_radix(hex, 16).unwrap_or_default();
            continue;
        }
        // `/project/src/a.rs:12 (discriminator 3)`.
        let line = line.split(" (").next().unwrap_or_default();
        if let Ok(own) = Path::new(line).strip_prefix(&root) {
            lines.entry(address).or_default().push(own.display().to_string());
        }
    }
    lines
}
