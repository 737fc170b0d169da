//! What a dataset looks like on disk and what its annotations mean: one TOML file per dataset.
//!
//! `docs/datasets.md` explains the format; each key has one line here.

#[cfg(test)]
mod documented_tests;
mod parse;
mod readers;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use readers::{
    Clear, Coco, CocoAnnotations, Flip, FrameMaskRule, Frames, GeometryRule, Hdf5Stacks, NpyDicts,
    NpyStacks, OutlineFormat, OutlineRule, Outlines, Rasters, Reader, TracingPoints, Tracings,
    Volumes,
};
pub use rules::{
    Class, Clean, Compare, Decode, Duplicates, Files, MaskRule, Opening, Resize, Sizes, Strings,
    Table, TableFormat, Unpaired,
};

use sonotune_archive::Inner;

/// A dataset: where it comes from and how it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Folder and file-name prefix of the output, as the reference spells it.
    pub name: String,
    /// One-line description.
    pub title: String,
    /// Organ or application; the overview groups datasets by it.
    pub application: String,
    /// Where to download it.
    pub url: String,
    /// Terms of use, as far as the page states them.
    pub licence: String,
    /// `open`, `registration` or `request`: what it takes to download it.
    pub access: Access,
    /// Names of the download in a folder of downloads; the first that exists is used.
    pub source: Vec<String>,
    /// Archives inside the download that are also unpacked.
    #[serde(default)]
    pub unpack: Vec<Inner>,
    /// Categories, in the order in which the objects of an image are listed.
    pub categories: Vec<Category>,
    /// Names of datasets with the same patients: if merged, their splits leak into each other.
    #[serde(default)]
    pub overlaps: Vec<String>,
    /// Whether the official test split is the one the paper evaluates on. All other official splits
    /// are recorded and used for training.
    #[serde(default)]
    pub benchmark: bool,
    /// In the test split, keeps only objects of at least this area, and the largest of each image.
    pub test_min_relative_area: Option<f64>,
    /// What to do with an image without an object. If it is not written, images are kept, but a dataset in
    /// which none has an object is refused.
    #[serde(default)]
    pub empty: Option<Empty>,
    /// What to do with a mask that covers the whole image.
    #[serde(default)]
    pub full_frame: FullFrame,
    /// Side files that give class, split or patient by key.
    #[serde(default)]
    pub tables: Vec<Table>,
    /// Named groups of this regex, matched against the image's path, are recorded: `patient`, `clip`,
    /// `split`. For information that is not part of the key.
    pub provenance: Option<String>,
    /// Defects of the reference's conversion, each with the way to reproduce it.
    #[serde(default)]
    pub defects: BTreeMap<String, Defect>,
    /// Images and masks as raster files.
    pub rasters: Option<Rasters>,
    /// Images and masks as volumes.
    pub volumes: Option<Volumes>,
    /// Images with outlines in JSON files.
    pub outlines: Option<Outlines>,
    /// Images annotated in COCO files.
    pub coco: Option<Coco>,
    /// Videos with polygons in a table.
    pub tracings: Option<Tracings>,
    /// Videos with one mask file per frame.
    pub frames: Option<Frames>,
    /// Stacks of images and masks in NumPy files.
    pub npy_stacks: Option<NpyStacks>,
    /// Images, each with a pickled dict of masks.
    pub npy_dicts: Option<NpyDicts>,
    /// Stacks of images and masks in HDF5 files.
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
    /// A request to the authors.
    Request,
}

/// A class of object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// Id from 1 to 255.
    pub id: u8,
    /// Name, as the reference spells it.
    pub name: String,
    /// Group of categories.
    pub supercategory: String,
}

/// What to do with an image without an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    /// Write it, without annotations.
    #[default]
    Keep,
    /// Leave it out and count it.
    Skip,
    /// Leave it out if the source's mask is empty, but keep it if cleaning emptied the mask.
    SkipUnmarked,
}

/// What to do with a mask that covers the whole image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FullFrame {
    /// Treat it as an object like any other.
    #[default]
    Keep,
    /// Drop it, as the reference does (which takes the only label for the background).
    Drop,
}

/// A defect of the reference.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defect {
    /// What is wrong in its output, in one sentence.
    pub what: String,
    /// Keys of the spec with the reference's values; they override the spec on request.
    pub as_published: toml::Table,
}

/// Which of the reference's defects to reproduce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// None of them.
    #[default]
    AsIntended,
    /// All defects that the spec names.
    AsPublished,
    /// The defects with these names.
    Only(Vec<String>),
}

/// The defect that all datasets share: see [`FullFrame::Drop`].
pub const FULL_FRAME_DEFECT: &str = "full-frame";
