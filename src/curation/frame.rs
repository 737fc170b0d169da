//! What every reader yields: one image with the masks of its objects.

use std::sync::Arc;

use base::Rle;
use serde::{Deserialize, Serialize};

/// One image with its masks, on the way from a reader to the output folder.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Pixels, 8 bit, grey or RGB.
    pub image: Pixels,
    /// The same image as a PNG file, where the source has it as one that can be passed on.
    pub encoded: Option<Arc<[u8]>>,
    /// Masks in the order of the source. Separate masks may overlap.
    pub masks: Vec<Mask>,
    /// Whether the source marks anything in this image, before any cleaning.
    pub marked: bool,
    /// Whether the reader found it to be one of those that the spec leaves out.
    pub left_out: bool,
    /// Index within the unit, from 0: the slice of a volume, the frame of a video. `None` for a
    /// unit of one image.
    pub frame: Option<u32>,
}

/// An image or a plane of labels in memory: `[H, W, C]`, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    pub height: u32,
    pub width: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    pub data: Vec<u8>,
}

/// The annotation of one image, or a part of it.
#[derive(Debug, Clone)]
pub enum Mask {
    /// One channel of category ids, 0 for none. Each 8-connected component of one category becomes
    /// an object.
    Labels(Pixels),
    /// One object as it is, whether connected or not.
    Object { category: u8, mask: Rle },
}

/// Where an image comes from; every field goes into its COCO record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Path within the source, with `/`; of a file in an archive the path after unpacking.
    pub source_file: String,
    /// Who is shown, as far as the source tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// Video, sweep or volume, where neighbouring images are much alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<String>,
    /// Slice or frame within `source_file`, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u32>,
    /// The split the dataset's authors gave it: `train`, `val` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub official_split: Option<String>,
}
