//! Object masks as COCO stores them: run lengths and polygons.
//!
//! The arithmetic (codec, polygon rasteriser, merging) is that of hotcoco, which equals pycocotools bit
//! for bit; this module adds the checks that make hostile files safe to read.

mod crop;
mod json;
mod mirror;
mod rle;
mod runs;
mod segmentation;
mod vote;

pub use rle::Rle;
pub use segmentation::Segmentation;
