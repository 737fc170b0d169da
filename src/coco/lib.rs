//! COCO files as a whole: read, changed, and written back without loss.
//!
//! Segmentations and unknown keys are kept byte for byte. Ids may be
//! anything that [`sonotune_base::ImageId`] reads (US-43d's tools write UUIDs as 128-bit integers, and
//! annotations without ids); images and annotations are numbered from 1 on reading, in the order of
//! the file, and again on writing. Category ids are referred to from outside the file and are kept.

pub mod agnostic;
pub mod duplicates;
pub mod export;
pub mod filter;
pub mod layout;
pub mod merge;
pub mod output;
mod parse;
mod provenance;
mod read;
pub mod split;
mod write;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sonotune_base::Rle;
pub use sonotune_dataset::coco::Extra;

pub use provenance::Provenance;

/// A whole COCO file.
#[derive(Debug, Clone, Default)]
pub struct CocoFile {
    pub info: Info,
    pub images: Vec<ImageRecord>,
    /// In any order; the annotations of one image need not be adjacent.
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
    /// Name of the dataset that all images belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Organ or use of all images, e.g. `breast`.
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
    /// Path relative to the image folder, with `/`.
    pub file_name: String,
    /// In pixels.
    pub height: u32,
    /// In pixels.
    pub width: u32,
    /// `pixel_spacing`: `[row, column]` in millimetres a pixel.
    pub spacing: Option<[f64; 2]>,
    /// Name of its dataset, if the file mixes several.
    pub dataset: Option<String>,
    /// Its organ or use, if the file mixes several.
    pub application: Option<String>,
    /// An empty `source_file` means that the file does not give one.
    pub provenance: Provenance,
    pub extra: Extra,
}

/// An entry of `annotations`: one object.
#[derive(Debug, Clone, Default)]
pub struct AnnotationRecord {
    pub id: u64,
    pub image_id: u64,
    pub category_id: u64,
    /// XYWH in original pixels.
    pub bbox: [f64; 4],
    /// In pixels.
    pub area: f64,
    /// As in the file: polygons, run lengths in either form, or `null`.
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
    /// Name of the dataset of an image: its own entry, else the file's.
    #[must_use]
    pub fn dataset_of<'a>(&'a self, image: &'a ImageRecord) -> Option<&'a str> {
        image.dataset.as_deref().or(self.info.dataset.as_deref())
    }

    /// Organ or use of an image: its own `application`, else the file's.
    #[must_use]
    pub fn application_of<'a>(&'a self, image: &'a ImageRecord) -> Option<&'a str> {
        image.application.as_deref().or(self.info.application.as_deref())
    }
}

impl AnnotationRecord {
    /// The object that `mask` covers; its id is assigned on writing.
    ///
    /// `segmentation` holds COCO's compressed run lengths, `bbox` the box of the mask, and `area` its
    /// number of pixels.
    ///
    /// # Errors
    /// Never, if the mask comes from a constructor of [`Rle`].
    pub fn from_mask(image_id: u64, category_id: u64, mask: &Rle) -> Result<Self> {
        #[derive(Serialize)]
        struct Compressed {
            size: [u32; 2],
            counts: String,
        }
        let size = [mask.height, mask.width];
        let segmentation = to_raw_value(&Compressed { size, counts: mask.to_compressed() })
            .context("encoding a mask as JSON")?;
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
