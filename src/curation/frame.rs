//! The output of every reader: one image with the masks of its objects.

use std::sync::Arc;

use sonotune_base::Rle;
pub use sonotune_formats::Pixels;

/// One image with its masks, on the way from a reader to the output folder.
#[derive(Debug, Clone)]
pub struct Frame {
    /// 8-bit pixels, grey or RGB.
    pub image: Pixels,
    /// The same image as a PNG file, if the source has one that can be copied as it is.
    pub encoded: Option<Arc<[u8]>>,
    /// Masks in the order of the source. Separate masks may overlap.
    pub masks: Vec<Mask>,
    /// Whether the source marks anything in this image, before any cleaning.
    pub marked: bool,
    /// Whether the spec leaves this image out.
    pub left_out: bool,
    /// Index within the unit, from 0: the slice of a volume, the frame of a video. `None` for a
    /// unit of one image.
    pub frame: Option<u32>,
    /// `[row, column]` in millimetres a pixel of `image`, if its file or its row of a table says.
    pub spacing: Option<[f64; 2]>,
}

/// The annotation of one image, or a part of it.
#[derive(Debug, Clone)]
pub enum Mask {
    /// One channel of category ids, 0 for background. Each 8-connected component of a category becomes
    /// an object.
    Labels(Pixels),
    /// One object, whether connected or not; or a crowd, several that nobody told apart.
    Object { category: u8, mask: Rle, is_crowd: bool },
}
