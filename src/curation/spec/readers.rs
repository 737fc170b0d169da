//! The readers' settings: a spec has exactly one of these tables.

use serde::Deserialize;

use super::rules::{Files, MaskRule, Unpaired};

/// The one reader of a spec.
#[derive(Debug, Clone, Copy)]
pub enum Reader<'a> {
    Rasters(&'a Rasters),
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
