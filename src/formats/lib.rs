//! File formats of raw datasets, each read on its own: no pairing, no spec.
//!
//! Every claim of a header is checked against the length of the file before memory is allocated.

pub mod avi_writer;
pub mod csv_file;
pub mod dicom;
mod elements;
pub mod hdf5;
mod intensity;
pub mod npy;
pub mod npy_dict;
mod pixels;
pub mod polygon;
pub mod text;
pub mod video;
pub mod volume;
#[cfg(any(test, feature = "miniatures"))]
pub mod write;

pub use elements::{Dtype, Plane, Values};
pub use intensity::Intensity;
pub use pixels::Pixels;

/// Path of a test fixture.
#[cfg(test)]
fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/curation")
        .join(name)
}
