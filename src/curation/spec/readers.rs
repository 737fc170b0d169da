//! Settings of the readers: a spec has exactly one of these tables.

use std::{collections::BTreeMap, num::NonZeroU32};

use serde::Deserialize;

use super::rules::{Class, Clean, Compare, Decode, Files, MaskRule, Sizes, Strings, Unpaired};
use sonotune_formats::{Intensity, polygon::PolygonRule, volume::View};

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
    /// The image files.
    pub images: Files,
    /// The mask files; their objects are listed in this order.
    pub masks: Vec<MaskRule>,
    /// How an image's numbers of more than 8 bits become grey levels. Without it, 16 bits keep their upper
    /// half, which must show something.
    #[serde(default)]
    pub intensity: Option<Intensity>,
    /// What to do with an image without a mask.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// Images and masks as volumes (NIfTI, MetaImage); each slice or frame is an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volumes {
    /// The image files.
    pub images: Files,
    /// The mask files.
    pub masks: Vec<MaskRule>,
    /// What to do with a volume without a mask.
    #[serde(default)]
    pub unpaired: Unpaired,
    /// The direction in which slices are taken.
    pub view: View,
    /// What to do with a mask whose voxels are elsewhere in space than those of the image.
    #[serde(default)]
    pub geometry: GeometryRule,
    /// How an image's numbers become grey levels.
    #[serde(default)]
    pub intensity: Intensity,
    /// Flips or rotates each slice and its mask.
    pub flip: Option<Flip>,
    /// Uses only the first slice of the image; the mask has one slice.
    #[serde(default)]
    pub first_slice: bool,
    /// The mask has one more axis than the image; each volume along it is a separate mask.
    #[serde(default)]
    pub mask_channels: bool,
    /// Where the mask is cleared because the image shows nothing.
    pub clear: Option<Clear>,
    /// Leaves out slices whose share of foreground, after cleaning, is less than this.
    #[serde(default)]
    pub min_foreground: f64,
}

/// What to do with a mask whose header places its voxels elsewhere than the image's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeometryRule {
    /// A problem that names the difference.
    #[default]
    Compare,
    /// Voxels with the same indices belong together, whatever the headers say.
    Ignore,
}

/// How slices are flipped or rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Rotated by 180°: both axes.
    #[serde(rename = "rotate_180")]
    Rotate180,
    /// Upside down.
    Vertical,
}

/// Where a mask is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clear {
    /// Outside the field of view: black that is connected to the border of the slice.
    OutsideFieldOfView,
    /// At every black pixel, also within structures.
    BlackPixels,
    /// At every voxel on an all-black line of the volume, along any axis.
    BlackLines,
}

/// Images with outlines in JSON files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlines {
    /// The image files.
    pub images: Files,
    /// The files with outlines.
    pub outlines: Vec<OutlineRule>,
    /// Their format.
    pub format: OutlineFormat,
    /// Which pixels an outline encloses.
    pub rule: PolygonRule,
    /// What to do with an image without outlines.
    #[serde(default)]
    pub unpaired: Unpaired,
    /// Whether the image must have the size that a labelme file gives.
    #[serde(default)]
    pub sizes: Sizes,
}

/// How files of outlines are found and what the outlines show.
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
    /// Category of all outlines.
    pub category: Option<u8>,
    /// Category by a name in the file's path.
    pub class: Option<Class>,
    /// Category by the label within the file (`labelme`).
    #[serde(default)]
    pub labels: BTreeMap<String, u8>,
}

/// Format of a file of outlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutlineFormat {
    /// A list of `[x, y]`: one closed outline.
    Points,
    /// labelme files: `shapes`, each with `label` and `points`.
    Labelme,
}

/// Images annotated in COCO files; an annotation is an object.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coco {
    /// The image files. The key's regex is also applied to `file_name`.
    pub images: Files,
    /// The COCO files.
    pub annotations: Vec<CocoAnnotations>,
    /// Category by the category name in the COCO file; 0 drops its objects.
    #[serde(default)]
    pub categories: BTreeMap<String, u8>,
    /// Uses the category ids of the files unchanged, whatever their names.
    #[serde(default)]
    pub by_id: bool,
    /// Whether each ring of a polygon is an object.
    #[serde(default)]
    pub each_ring: bool,
    /// Whether the images must have the sizes that the files give.
    #[serde(default)]
    pub sizes: Sizes,
    /// What to do with images without an entry, and with entries without an image.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// A COCO file and the split of its images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CocoAnnotations {
    /// Path of the file within the source.
    pub file: String,
    /// Recorded as the official split.
    pub split: Option<String>,
}

/// Videos with polygons in a table, one row per point or chord; traced frames become images.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracings {
    /// The video files.
    pub videos: Files,
    /// The tables, CSV with a header.
    pub tables: Strings,
    /// Column that names the video.
    pub name_column: String,
    /// A regex matched against the table's folder and that name, joined by `/`; must give the video's
    /// key.
    pub key: String,
    /// Column with the frame number.
    pub frame_column: String,
    /// Number of the first frame in the table.
    #[serde(default)]
    pub first_frame: i64,
    /// Entries of the frame column that mean "none".
    #[serde(default)]
    pub no_frame: Vec<String>,
    /// Columns with the points.
    pub points: TracingPoints,
    /// Skips the first row of each frame.
    #[serde(default)]
    pub drop_first_row: bool,
    /// Which pixels a polygon encloses.
    pub rule: PolygonRule,
    /// Category of the traced structure.
    pub category: u8,
    /// What to do about a traced video that is missing.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// How rows form a polygon.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TracingPoints {
    /// Columns x1, y1, x2, y2: chords across; down along the first ends, back along the second ends.
    Chords([String; 4]),
    /// Columns x, y: the contour in order.
    Contour([String; 2]),
}

/// Videos with one mask file per frame; every frame becomes an image, unless fewer are asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frames {
    /// Takes every n-th frame of a video, from the first.
    pub every_frame: Option<NonZeroU32>,
    /// Takes at most this many frames of a video, evenly spaced.
    pub num_frames: Option<NonZeroU32>,
    /// The video files.
    pub videos: Files,
    /// The mask files; their key is the video's.
    pub masks: Vec<FrameMaskRule>,
    /// What to do with a video without masks and a frame without a required mask.
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
    /// A regex matched against the mask's path; its first group is the frame number, from 0. Without it,
    /// or if it is empty, the masks of a video, in path order, belong to its frames in order.
    pub number: Option<String>,
    /// Each frame must have a mask of this rule.
    #[serde(default)]
    pub required: bool,
    /// See [`MaskRule::decode`].
    pub decode: Decode,
    /// See [`MaskRule::compare`].
    #[serde(default)]
    pub compare: Option<Compare>,
    /// See [`MaskRule::category`].
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
    /// The mask files.
    pub masks: Vec<MaskRule>,
    /// Numbers are multiplied by this.
    #[serde(default = "one")]
    pub scale: f64,
    /// How the multiplied numbers become grey levels.
    #[serde(default)]
    pub intensity: Intensity,
    /// Flips or rotates each image and its mask.
    pub flip: Option<Flip>,
    /// What to do with a stack without masks.
    #[serde(default)]
    pub unpaired: Unpaired,
}

fn one() -> f64 {
    1.0
}

/// Images, each with a pickled dict of masks by name in a NumPy file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpyDicts {
    /// The image files.
    pub images: Files,
    /// The files with the dicts.
    pub dicts: Files,
    /// Keys that lead to the dict of masks.
    pub path: Vec<String>,
    /// Category by the mask's name.
    pub categories: BTreeMap<String, u8>,
    /// What to do with an image without a dict.
    #[serde(default)]
    pub unpaired: Unpaired,
}

/// Stacks of images and masks in one HDF5 file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hdf5Stacks {
    /// The files and their keys.
    pub files: Files,
    /// Dataset with images, `[N, H, W]` or `[N, H, W, C]`.
    pub image: String,
    /// Dataset with masks, `[N, H, W]`.
    pub mask: String,
    /// Dataset with the clip of each plane, as text.
    pub clip: Option<String>,
    /// How numbers become grey levels.
    #[serde(default)]
    pub intensity: Intensity,
    /// See [`MaskRule::decode`].
    pub decode: Decode,
    /// See [`MaskRule::category`].
    pub category: Option<u8>,
    /// See [`MaskRule::clean`].
    #[serde(default)]
    pub clean: Vec<Clean>,
}

impl OutlineRule {
    /// As a mask rule, since they are paired the same way.
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
    /// As a mask rule, since they are paired the same way, with several per video.
    pub(crate) fn as_mask_rule(&self) -> MaskRule {
        MaskRule {
            files: self.files.clone(),
            not: self.not.clone(),
            key: self.key.clone(),
            several: true,
            decode: self.decode.clone(),
            compare: self.compare,
            category: self.category,
            clean: self.clean.clone(),
            ..MaskRule::pairing_only()
        }
    }
}

impl NpyDicts {
    /// As a mask rule, since they are paired the same way.
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
    /// As a mask rule, which says how a plane of masks is read.
    pub(crate) fn as_mask_rule(&self) -> MaskRule {
        MaskRule {
            decode: self.decode.clone(),
            category: self.category,
            clean: self.clean.clone(),
            ..MaskRule::pairing_only()
        }
    }
}
