//! Annotation files: read, checked and joined. Knows neither pixels nor libtorch.

pub mod coco;

use sha2::{Digest, Sha256};

/// SHA-256 of an annotation file's bytes, hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
