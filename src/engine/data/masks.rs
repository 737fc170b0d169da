//! Object masks as COCO stores them.

/// COCO run-length encoding: runs of 0, 1, 0, … in column-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rle {
    pub height: u32,
    pub width: u32,
    pub counts: Vec<u32>,
}

/// The outline of an object, undecoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Segmentation {
    /// No mask in the file: the box stands for it.
    None,
    /// Each `[x0, y0, x1, y1, …]`, original pixels.
    Polygons(Vec<Vec<f64>>),
    /// COCO's compressed string form with its size.
    Compressed { height: u32, width: u32, counts: Box<str> },
    /// COCO's list form with its size.
    Runs(Rle),
}
