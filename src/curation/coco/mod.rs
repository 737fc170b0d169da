//! COCO files as curation handles them: read whole, changed, written again without loss.
//!
//! Segmentations and keys that this program does not know are kept byte for byte. Ids may be
//! anything that [`base::ImageId`] reads (US-43d's tools write UUIDs as 128-bit integers, and
//! annotations without any); images and annotations are numbered from 1 on reading, in the order of
//! the file, and again on writing. Category ids mean something to others and stay as they are.

pub mod layout;
pub mod output;
mod parse;
mod read;
mod write;

use anyhow::{Context, Result};
use base::Rle;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
pub use sonotune_dataset::coco::Extra;

use crate::Provenance;

/// A whole COCO file.
#[derive(Debug, Clone, Default)]
pub struct CocoFile {
    pub info: Info,
    pub images: Vec<ImageRecord>,
    /// In any order; those of one image need not be neighbours.
    pub annotations: Vec<AnnotationRecord>,
    pub categories: Vec<CategoryRecord>,
    /// Other keys of the file, e.g. `licenses`.
    pub extra: Extra,
}

/// `info` of a COCO file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Info {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Name of the dataset that all images are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// What all images are of: the organ or use, e.g. `breast`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// An entry of `images`.
#[derive(Debug, Clone, Default)]
pub struct ImageRecord {
    /// Unique in its file.
    pub id: u64,
    /// Path below the images' folder, with `/`.
    pub file_name: String,
    /// Pixels.
    pub height: u32,
    /// Pixels.
    pub width: u32,
    /// Name of the dataset it is of, where the file mixes several.
    pub dataset: Option<String>,
    /// What it is of, where the file mixes several.
    pub application: Option<String>,
    /// An empty `source_file` stands for one that the file does not tell.
    pub provenance: Provenance,
    pub extra: Extra,
}

/// An entry of `annotations`: one object.
#[derive(Debug, Clone, Default)]
pub struct AnnotationRecord {
    pub id: u64,
    pub image_id: u64,
    pub category_id: u64,
    /// XYWH, original pixels.
    pub bbox: [f64; 4],
    /// Pixels.
    pub area: f64,
    /// As the file has it: polygons, run lengths in either form, `null`.
    pub segmentation: Option<Box<RawValue>>,
    pub iscrowd: bool,
    pub extra: Extra,
}

/// An entry of `categories`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CategoryRecord {
    pub id: u64,
    pub name: String,
    pub supercategory: Option<String>,
    pub extra: Extra,
}

impl CocoFile {
    /// The name of the dataset that an image is of: its own, else the file's.
    #[must_use]
    pub fn dataset_of<'a>(&'a self, image: &'a ImageRecord) -> Option<&'a str> {
        image.dataset.as_deref().or(self.info.dataset.as_deref())
    }

    /// What an image is of: its own `application`, else the file's.
    #[must_use]
    pub fn application_of<'a>(&'a self, image: &'a ImageRecord) -> Option<&'a str> {
        image.application.as_deref().or(self.info.application.as_deref())
    }
}

impl AnnotationRecord {
    /// The object that `mask` covers; its id is given on writing.
    ///
    /// `segmentation` is COCO's compressed run lengths, `bbox` that of the mask, `area` its pixels.
    ///
    /// # Errors
    /// Never with a mask that [`Rle`]'s constructors made.
    pub fn from_mask(image_id: u64, category_id: u64, mask: &Rle) -> Result<Self> {
        #[derive(Serialize)]
        struct Compressed {
            size: [u32; 2],
            counts: String,
        }
        let size = [mask.height, mask.width];
        let segmentation = to_raw_value(&Compressed { size, counts: mask.to_compressed() })
            .context("a mask as JSON")?;
        Ok(Self {
            id: 0,
            image_id,
            category_id,
            bbox: mask.bbox(),
            area: mask.area() as f64,
            segmentation: Some(segmentation),
            iscrowd: false,
            extra: Extra::default(),
        })
    }
}

#[cfg(test)]
mod tests;
