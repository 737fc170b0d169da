//! A crate stays small enough to build in a minute and to be known by one person.

use anyhow::Result;

use super::{
    layers::{FILE, Layers},
    manifests::Member,
    tree::Tree,
};

/// Lines of Rust, tests included.
const LARGEST_CRATE: usize = 15_000;

/// # Errors
/// When a file cannot be read.
pub(super) fn faults(members: &[Member], layers: &Layers, tree: &Tree) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for member in members {
        let reason = layers.get(&member.name).and_then(|layer| layer.size_reason.as_deref());
        let lines = lines(member, tree)?;
        let excess = lines > LARGEST_CRATE;
        if excess && reason.is_none_or(str::is_empty) {
            faults.push(format!(
                "{}: {} has {lines} lines of Rust, more than {LARGEST_CRATE}. Split off a crate, or \
                 give a `size_reason` in {FILE}.",
                member.shown(),
                member.name
            ));
        } else if !excess && reason.is_some() {
            faults.push(format!(
                "{FILE}: {} has only {lines} lines of Rust. Delete its `size_reason`.",
                member.name
            ));
        }
    }
    Ok(faults)
}

fn lines(member: &Member, tree: &Tree) -> Result<usize> {
    let rust = tree.files().filter(|file| file.extension() == Some("rs".as_ref()));
    let own = rust.filter(|file| tree.package_of(file) == Some(&*member.folder));
    own.map(|file| Ok(tree.text(file)?.lines().count())).sum()
}
