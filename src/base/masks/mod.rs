//! Object masks as COCO stores them: run lengths and polygons.
//!
//! The arithmetic (codec, polygon rasteriser, merging) is hotcoco's, which equals pycocotools bit
//! for bit; what is added here are the checks that let hostile files in.

mod json;
mod rle;
mod segmentation;

pub use rle::Rle;
pub use segmentation::Segmentation;
