//! COCO's JSON, read once for training, scoring and tools.
//!
//! [`File`] holds the three lists of a file, each entry in a flat struct: a tree of values of a large
//! file takes gigabytes and loses ids beyond 64 bits. A [`Reader`] decides what is kept beyond the
//! common keys: [`Plain`] nothing, curation's everything. [`from_slice`] reads a file, and its errors
//! say which file, list and entry; [`join`] finds what an entry refers to and checks its numbers.
//! [`CocoTruths`] and [`CocoResults`] are the two files that scoring compares.

mod extra;
mod fields;
mod file;
pub mod join;
mod json;
pub mod patient;
mod results;
mod text;
mod tools;
mod truths;

use std::path::Path;

use anyhow::{Context, Result};
use sonotune_base::Error;

pub use sonotune_base::json::{Integer, Number, Text, Unsigned};

pub use crate::coco::{
    extra::Extra,
    fields::{Bbox, Flag, PixelSpacing},
    file::{Annotation, Category, FILE, File, Image, Plain, Reader},
    json::{Fields, Manner, Object, Pair, from_slice, located},
    results::{CocoResults, FoundObject},
    text::text,
    tools::other_json,
    truths::{CocoTruths, TruthCategory, TruthImage, TruthObject},
};
use crate::sha256;

/// Reads the bytes of an annotation file.
///
/// # Errors
/// Names the file that cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .with_context(|| Error::data(format!("cannot read the annotations {}", path.display())))
}

/// Parses what was read from `path`, and computes its SHA-256 at the same time.
///
/// # Errors
/// Same errors as `parse`.
pub fn parse_hashed<'a, T>(
    bytes: &'a [u8],
    parse: impl FnOnce(&'a [u8]) -> Result<T>,
    path: &Path,
) -> Result<(T, String)> {
    std::thread::scope(|scope| {
        let hash = scope.spawn(|| sha256(bytes));
        let file = parse(bytes)?;
        let hash = hash.join().map_err(|_| anyhow::anyhow!("hashing {} failed", path.display()))?;
        Ok((file, hash))
    })
}

#[cfg(test)]
mod tests;
