//! What a dataset looks like on disk and what its annotations mean: one TOML file a dataset.
//!
//! `docs/datasets.md` teaches the format; every key has its line here.

#[cfg(test)]
mod documented;
mod parse;
mod readers;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use readers::{
    Clear, Coco, CocoAnnotations, Flip, FrameMaskRule, Frames, Hdf5Stacks, NpyDicts, NpyStacks,
    OutlineFormat, OutlineRule, Outlines, Rasters, Reader, TracingPoints, Tracings, Volumes,
};
pub use rules::{
    Class, Clean, Decode, Duplicates, Files, MaskRule, Opening, Resize, Strings, Table,
    TableFormat, Unpaired,
};

use crate::archive::Inner;

/// A dataset: where it comes from, how it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Folder and file-name prefix of the output, as the reference spells it.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Organ or use, by which the overview groups datasets.
    pub application: String,
    /// Where to get it.
    pub url: String,
    /// Terms of use, as far as the page tells.
    pub licence: String,
    /// `open`, `registration` or `request`: what it takes to download it.
    pub access: Access,
    /// Names of the download in a folder of downloads; the first that is there is taken.
    pub source: Vec<String>,
    /// Archives within, unpacked too.
    #[serde(default)]
    pub unpack: Vec<Inner>,
    /// In the order in which objects of an image are listed.
    pub categories: Vec<Category>,
    /// Names of datasets that show the same patients: merged, their splits leak into each other.
    #[serde(default)]
    pub overlaps: Vec<String>,
    /// Whether the official test split is the one the paper scores on. All other official splits
    /// are recorded, and train.
    #[serde(default)]
    pub benchmark: bool,
    /// Of the test split only objects at least this large, beside the largest of their image.
    #[serde(default)]
    pub test_min_relative_area: Option<f64>,
    /// What becomes of an image without an object.
    #[serde(default)]
    pub empty: Empty,
    /// What becomes of a mask that covers the whole image.
    #[serde(default)]
    pub full_frame: FullFrame,
    /// Side files that tell class, split or patient by key.
    #[serde(default)]
    pub tables: Vec<Table>,
    /// Named groups of this regex, found in the image's path, are recorded: `patient`, `clip`,
    /// `split`. For what is no part of the key.
    #[serde(default)]
    pub provenance: Option<String>,
    /// What the reference's conversion gets wrong, each with its way to reproduce it.
    #[serde(default)]
    pub defects: BTreeMap<String, Defect>,
    /// Images and masks as raster files.
    #[serde(default)]
    pub rasters: Option<Rasters>,
    /// Images and masks as volumes.
    #[serde(default)]
    pub volumes: Option<Volumes>,
    /// Images with outlines in JSON files.
    #[serde(default)]
    pub outlines: Option<Outlines>,
    /// Images annotated in COCO files.
    #[serde(default)]
    pub coco: Option<Coco>,
    /// Videos with polygons in a table.
    #[serde(default)]
    pub tracings: Option<Tracings>,
    /// Videos with a mask file a frame.
    #[serde(default)]
    pub frames: Option<Frames>,
    /// Stacks of images and masks in NumPy files.
    #[serde(default)]
    pub npy_stacks: Option<NpyStacks>,
    /// Images with a pickled dict of masks each.
    #[serde(default)]
    pub npy_dicts: Option<NpyDicts>,
    /// Stacks of images and masks in HDF5 files.
    #[serde(default)]
    pub hdf5: Option<Hdf5Stacks>,
}

/// What it takes to download a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// A link.
    Open,
    /// An account and terms to accept.
    Registration,
    /// A letter to the authors.
    Request,
}

/// A class of object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// From 1 to 255.
    pub id: u8,
    /// As the reference spells it.
    pub name: String,
    /// Group of categories.
    pub supercategory: String,
}

/// What becomes of an image without an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    /// It is written, with no annotation.
    #[default]
    Keep,
    /// It is left out and counted.
    Skip,
    /// It is left out where the source's mask is empty, and kept where cleaning emptied it.
    SkipUnmarked,
}

/// What becomes of a mask that covers the whole image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FullFrame {
    /// It is an object like any other.
    #[default]
    Keep,
    /// It is dropped, as the reference does (it takes the only label for the background).
    Drop,
}

/// One thing the reference gets wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defect {
    /// What comes out wrong, in a sentence.
    pub what: String,
    /// Keys of the spec as the reference has them: laid over the spec when asked for.
    pub as_published: toml::Table,
}

/// Which of the reference's defects to reproduce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// None.
    #[default]
    AsIntended,
    /// All that the spec names.
    AsPublished,
    /// Those named.
    Only(Vec<String>),
}

/// The defect that every dataset shares: see [`FullFrame::Drop`].
pub const FULL_FRAME_DEFECT: &str = "full-frame";
