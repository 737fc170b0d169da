//! What keeps the source a tree of small crates written in plain English: directions, cycles, sizes
//! and words. It reads text only, so it needs neither libtorch nor a build of the product.
//!
//! `xtask/layers.toml` and `xtask/words.toml` hold the data.

use std::path::Path;

use anyhow::{Result, bail};

mod cycles;
mod direction;
mod graph;
mod imports;
mod layers;
mod manifests;
mod prose;
mod size;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod unsafety;
mod words;

/// # Errors
/// When a rule is broken, after printing each fault, and when the source cannot be read.
pub(crate) fn ensure(root: &Path) -> Result<()> {
    let faults = faults(root)?;
    for fault in &faults {
        eprintln!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        1 => bail!("one fault, see above"),
        many => bail!("{many} faults, see above"),
    }
}

/// Every broken rule in the repository at `root`, each with its place and a remedy.
///
/// # Errors
/// When a file cannot be read, or a manifest, a Rust file or the data of a rule is malformed.
fn faults(root: &Path) -> Result<Vec<String>> {
    let tree = tree::Tree::read(root)?;
    let members = manifests::members(root)?;
    let layers = layers::read::<layers::Layers>(root, layers::FILE)?;
    let words = layers::read::<words::Words>(root, words::FILE)?;
    let sources = source::read_all(&tree)?;
    Ok([
        direction::unlisted(&members, &layers),
        direction::faults(&members, &layers),
        cycles::faults(&members, &layers, &tree, &sources),
        size::faults(&members, &layers, &tree)?,
        unsafety::faults(&members, &layers, &tree, &sources),
        words.faults(&tree, &sources)?,
    ]
    .concat())
}
