//! The readers' settings: a spec has exactly one of these tables.

use serde::Deserialize;

use super::rules::{Files, MaskRule, Unpaired};
use crate::formats::{Intensity, volume::View};

/// The one reader of a spec.
#[derive(Debug, Clone, Copy)]
pub enum Reader<'a> {
    Rasters(&'a Rasters),
    Volumes(&'a Volumes),
}

/// Images and masks as raster files (PNG, JPEG, BMP, TIFF, WebP).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rasters {
    /// Which files are images.
    pub images: Files,
    /// Which are masks; in this order their objects are listed.
    pub masks: Vec<MaskRule>,
    /// What becomes of an image without a mask.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// Images and masks as volumes (NIfTI, MetaImage), each slice or frame an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volumes {
    /// Which files are images.
    pub images: Files,
    /// Which are masks.
    pub masks: Vec<MaskRule>,
    /// What becomes of a volume without a mask.
    #[serde(default)]
    pub unpaired: Unpaired,
    /// The direction in which slices are taken.
    pub view: View,
    /// How an image's numbers become grey levels.
    #[serde(default)]
    pub intensity: Intensity,
    /// Turns each slice and its mask.
    #[serde(default)]
    pub flip: Option<Flip>,
    /// Only the first slice of the image counts; the mask has one.
    #[serde(default)]
    pub first_slice: bool,
    /// The mask has one more axis than the image; along it each volume is a mask of its own.
    #[serde(default)]
    pub mask_channels: bool,
    /// Where the mask is cleared because the image shows nothing.
    #[serde(default)]
    pub clear: Option<Clear>,
    /// Slices of which less than this share is foreground, after cleaning, are left out.
    #[serde(default)]
    pub min_foreground: f64,
}

/// How slices are turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Half a turn: both axes.
    #[serde(rename = "rotate_180")]
    Rotate180,
    /// Upside down.
    Vertical,
}

/// Where a mask is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clear {
    /// Outside the field of view: where black reaches the border of the slice.
    OutsideFieldOfView,
    /// At every black pixel, those within structures too.
    BlackPixels,
    /// At every voxel that lies on an all-black line of the volume, along any axis.
    BlackLines,
}
