//! From the raw archives of published datasets to COCO files that a run can train on.

pub mod agnostic;
pub mod archive;
pub mod coco;
pub mod export;
pub mod filter;
pub mod formats;
pub mod frame;
pub mod merge;
pub mod split;

pub use coco::CocoFile;
pub use frame::{Frame, Mask, Pixels, Provenance};
