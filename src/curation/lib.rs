//! From the raw archives of published datasets to COCO files that a run can train on.

pub mod frame;

pub use frame::{Frame, Mask, Pixels, Provenance};
