//! One function for each kind of input: it reads the bytes as the program would, uses what came of
//! them, and returns. A panic, an assertion that fails, and memory or time without bound are
//! findings.

mod arrays;
mod coco;
mod dicom;
mod images;
pub(crate) mod masks;
mod pickles;
mod scores;
pub(crate) mod scratch;
mod specs;

pub use arrays::{archives, arrays, hdf5, video, volumes};
pub use coco::coco_file;
pub use dicom::dicom;
pub use images::images;
pub use masks::{polygons, rle};
pub use pickles::pickle;
pub use scores::scores;
pub use specs::spec;

use sonotune_base::{Error, ErrorKind};

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its folder of inputs.
pub const ALL: &[(&str, Target)] = &[
    ("rle", rle),
    ("polygons", polygons),
    ("coco_file", coco_file),
    ("spec", spec),
    ("images", images),
    ("volumes", volumes),
    ("arrays", arrays),
    ("hdf5", hdf5),
    ("video", video),
    ("dicom", dicom),
    ("archives", archives),
    ("pickle", pickle),
    ("scores", scores),
];

/// The value, or nothing where the refusal is of the right kind and says where it happened.
#[track_caller]
pub(crate) fn accepted<T>(result: anyhow::Result<T>, kind: ErrorKind, names: &str) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let found = error.downcast_ref::<Error>().map(|error| error.kind);
            assert_eq!(found, Some(kind), "{error:#}");
            let text = format!("{error:#}");
            assert!(text.contains(names), "no {names} in: {text}");
            None
        }
    }
}
