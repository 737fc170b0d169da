//! File formats of raw datasets, each read on its own: no pairing, no spec.
//!
//! Whatever a header claims is held against the length of its file before memory is taken for it.

mod elements;
pub mod hdf5;
pub mod npy;
pub mod npy_dict;
pub mod polygon;
pub mod video;
pub mod volume;
#[cfg(any(test, feature = "miniatures"))]
pub mod write;

pub use elements::{Dtype, Intensity, Plane, Values};

/// A file among the tests' fixtures.
#[cfg(test)]
fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/curation")
        .join(name)
}
