//! The readers' settings: a spec has exactly one of these tables.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::rules::{Class, Clean, Decode, Files, MaskRule, Strings, Unpaired};
use crate::formats::{Intensity, polygon::PolygonRule, volume::View};

/// The one reader of a spec.
#[derive(Debug, Clone, Copy)]
pub enum Reader<'a> {
    Rasters(&'a Rasters),
    Volumes(&'a Volumes),
    Outlines(&'a Outlines),
    Coco(&'a Coco),
    Tracings(&'a Tracings),
    Frames(&'a Frames),
    NpyStacks(&'a NpyStacks),
    NpyDicts(&'a NpyDicts),
    Hdf5(&'a Hdf5Stacks),
}

impl Reader<'_> {
    /// Name of its table in a spec.
    pub(super) fn table(&self) -> &'static str {
        match self {
            Self::Rasters(_) => "rasters",
            Self::Volumes(_) => "volumes",
            Self::Outlines(_) => "outlines",
            Self::Coco(_) => "coco",
            Self::Tracings(_) => "tracings",
            Self::Frames(_) => "frames",
            Self::NpyStacks(_) => "npy_stacks",
            Self::NpyDicts(_) => "npy_dicts",
            Self::Hdf5(_) => "hdf5",
        }
    }
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

/// Images with outlines in JSON files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlines {
    /// Which files are images.
    pub images: Files,
    /// Which hold outlines.
    pub outlines: Vec<OutlineRule>,
    /// What is written in them.
    pub format: OutlineFormat,
    /// Which pixels an outline encloses.
    pub rule: PolygonRule,
    /// What becomes of an image without outlines.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// How a file of outlines is found and what they show.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutlineRule {
    /// See [`Files::files`].
    pub files: Strings,
    /// See [`Files::not`].
    #[serde(default)]
    pub not: Strings,
    /// See [`Files::key`]; must give the image's key.
    pub key: String,
    /// An image may have several such files.
    #[serde(default)]
    pub several: bool,
    /// Category of all.
    #[serde(default)]
    pub category: Option<u8>,
    /// Category by a name in the file's path.
    #[serde(default)]
    pub class: Option<Class>,
    /// Category by the label within the file (`labelme`).
    #[serde(default)]
    pub labels: BTreeMap<String, u8>,
}

/// What a file of outlines holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutlineFormat {
    /// A list of `[x, y]`: one closed outline.
    Points,
    /// labelme's: `shapes`, each with `label` and `points`.
    Labelme,
}

/// Images annotated in COCO files, each ring of a polygon an object.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coco {
    /// Which files are images. The key's regex is applied to `file_name` as well.
    pub images: Files,
    /// The COCO files.
    pub annotations: Vec<CocoAnnotations>,
    /// Category by the name that the COCO file gives its own.
    #[serde(default)]
    pub categories: BTreeMap<String, u8>,
    /// Takes the files' category ids as they are, whatever their names.
    #[serde(default)]
    pub by_id: bool,
    /// What becomes of images without an entry, and of entries without an image.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// A COCO file and the split its images are of.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CocoAnnotations {
    /// Path of the file within the source.
    pub file: String,
    /// Recorded as the official split.
    #[serde(default)]
    pub split: Option<String>,
}

/// Videos with polygons in a table, a row a point or chord; traced frames become images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracings {
    /// Which files are videos.
    pub videos: Files,
    /// The tables, CSV with a header.
    pub tables: Strings,
    /// Column that names the video.
    pub name_column: String,
    /// A regex over the table's folder and that name, joined by `/`; must give the video's key.
    pub key: String,
    /// Column with the frame's number.
    pub frame_column: String,
    /// Number that the table gives the first frame.
    #[serde(default)]
    pub first_frame: i64,
    /// Entries of the frame's column that stand for "none".
    #[serde(default)]
    pub no_frame: Vec<String>,
    /// Columns of the points.
    pub points: TracingPoints,
    /// Leaves out the first row of each frame.
    #[serde(default)]
    pub drop_first_row: bool,
    /// Which pixels a polygon encloses.
    pub rule: PolygonRule,
    /// Of what is traced.
    pub category: u8,
    /// What becomes of a traced video that is not there.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// How rows make a polygon.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TracingPoints {
    /// Columns x1, y1, x2, y2: chords across; first ends downwards, second ends back.
    Chords([String; 4]),
    /// Columns x, y: the contour in order.
    Contour([String; 2]),
}

/// Videos with a mask file a frame; every frame becomes an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frames {
    /// Which files are videos.
    pub videos: Files,
    /// Which are masks; their key is the video's.
    pub masks: Vec<FrameMaskRule>,
    /// What becomes of a video without masks and of a frame without a required one.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// Masks of single frames.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameMaskRule {
    /// See [`Files::files`].
    pub files: Strings,
    /// See [`Files::not`].
    #[serde(default)]
    pub not: Strings,
    /// See [`Files::key`]; must give the video's key.
    pub key: String,
    /// A regex over the mask's path whose first group is the frame's number, from 0. Without it,
    /// or where it is empty, the masks of a video, in path order, are those of its frames in turn.
    #[serde(default)]
    pub number: Option<String>,
    /// Each frame must have one.
    #[serde(default)]
    pub required: bool,
    /// See [`MaskRule::decode`].
    pub decode: Decode,
    /// See [`MaskRule::category`].
    #[serde(default)]
    pub category: Option<u8>,
    /// See [`MaskRule::clean`].
    #[serde(default)]
    pub clean: Vec<Clean>,
}

/// Stacks of images and of masks in NumPy files, along the first axis.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpyStacks {
    /// Which files are images: `[N, H, W]` or `[N, H, W, C]`.
    pub images: Files,
    /// Which are masks.
    pub masks: Vec<MaskRule>,
    /// Numbers are multiplied by this.
    #[serde(default = "one")]
    pub scale: f64,
    /// How they then become grey levels.
    #[serde(default)]
    pub intensity: Intensity,
    /// Turns each image and its mask.
    #[serde(default)]
    pub flip: Option<Flip>,
    /// What becomes of a stack without masks.
    #[serde(default)]
    pub unpaired: Unpaired,
}

fn one() -> f64 {
    1.0
}

/// Images with a pickled dict of masks each, by name, in a NumPy file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpyDicts {
    /// Which files are images.
    pub images: Files,
    /// Which hold the dicts.
    pub dicts: Files,
    /// Keys that lead to the dict of masks.
    pub path: Vec<String>,
    /// Category by the mask's name.
    pub categories: BTreeMap<String, u8>,
    /// What becomes of an image without a dict.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// Stacks of images and masks in one HDF5 file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hdf5Stacks {
    /// Which files, and their keys.
    pub files: Files,
    /// Dataset with images, `[N, H, W]` or `[N, H, W, C]`.
    pub image: String,
    /// Dataset with masks, `[N, H, W]`.
    pub mask: String,
    /// Dataset with the clip of each plane, as text.
    #[serde(default)]
    pub clip: Option<String>,
    /// How numbers become grey levels.
    #[serde(default)]
    pub intensity: Intensity,
    /// See [`MaskRule::decode`].
    pub decode: Decode,
    /// See [`MaskRule::category`].
    #[serde(default)]
    pub category: Option<u8>,
    /// See [`MaskRule::clean`].
    #[serde(default)]
    pub clean: Vec<Clean>,
}

impl OutlineRule {
    /// As a rule for mask files: they pair alike.
    pub(crate) fn as_mask_rule(&self) -> MaskRule {
        MaskRule {
            files: self.files.clone(),
            not: self.not.clone(),
            key: self.key.clone(),
            several: self.several,
            category: self.category,
            class: self.class.clone(),
            ..MaskRule::pairing_only()
        }
    }
}

impl FrameMaskRule {
    /// As a rule for mask files: they pair alike, several a video.
    pub(crate) fn as_mask_rule(&self) -> MaskRule {
        MaskRule {
            files: self.files.clone(),
            not: self.not.clone(),
            key: self.key.clone(),
            several: true,
            decode: self.decode.clone(),
            category: self.category,
            clean: self.clean.clone(),
            ..MaskRule::pairing_only()
        }
    }
}

impl NpyDicts {
    /// As a rule for mask files: they pair alike.
    pub(crate) fn as_mask_rule(&self) -> MaskRule {
        MaskRule {
            files: self.dicts.files.clone(),
            not: self.dicts.not.clone(),
            key: self.dicts.key.clone(),
            numeric_key: self.dicts.numeric_key,
            duplicates: self.dicts.duplicates,
            ..MaskRule::pairing_only()
        }
    }
}

impl Hdf5Stacks {
    /// How a plane of masks is read.
    pub(crate) fn as_mask_rule(&self) -> MaskRule {
        MaskRule {
            decode: self.decode.clone(),
            category: self.category,
            clean: self.clean.clone(),
            ..MaskRule::pairing_only()
        }
    }
}
