//! What was done, file by file.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    Dates,
    regions::Rect,
    scrub::{Change, Changes},
    values,
};

/// What no run looks at.
pub const NOT_LOOKED_AT: [&str; 5] = [
    "text within the regions that stay: a name typed into the picture is still there",
    "faces and other features by which a person can be recognised in the picture",
    "what codes and short texts of other attributes mean, beyond words of the patient's name and numbers",
    "whether the regions in the file are where the machine drew its text",
    "the times of day, which stay when dates are moved",
];

/// The result of a run. What is in `files` holds nothing of the originals and is written into the output as
/// `report.json`; the rest names original files.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub summary: Summary,
    /// One entry per written file.
    pub files: Vec<Written>,
    /// The original of each written file.
    pub originals: Vec<PathBuf>,
    /// DICOM files that were not written, and why.
    pub refused: Vec<Left>,
    /// Files that are not DICOM, or not regular files. They were not copied.
    pub not_copied: Vec<Left>,
    /// Where the salt, the page for checking and the mapping are.
    pub beside: Beside,
}

/// What holds for the whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub generator: String,
    pub profile: &'static str,
    pub dates: Dates,
    pub patient_characteristics_kept: bool,
    pub written: usize,
    pub patients: usize,
    pub refused: usize,
    pub not_copied: usize,
    pub not_looked_at: [&'static str; 5],
}

/// Files that lead back to the patients, none of them in the output.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Beside {
    pub salt: Option<PathBuf>,
    pub page: Option<PathBuf>,
    pub mapping: Option<PathBuf>,
}

/// A file that was not written.
#[derive(Debug, Clone, Serialize)]
pub struct Left {
    pub path: PathBuf,
    pub reason: String,
}

/// A written file.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    /// Within the output.
    pub file: String,
    pub patient: String,
    pub frames: u32,
    /// `(height, width)` in pixels.
    pub size: (u32, u32),
    /// What stays of the picture; empty if nothing was made black.
    pub kept_regions: Vec<Rect>,
    /// Share of each frame's pixels that were made black, in [0, 1].
    pub blacked_out: f64,
    /// The value of PatientIdentityRemoved.
    pub patient_identity_removed: bool,
    pub changes: Vec<Changed>,
    /// What a person should know about this file.
    pub notes: Vec<String>,
}

/// An attribute that was changed; the old value is kept nowhere.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    pub tag: String,
    pub name: String,
    pub change: Change,
    /// How often, in sequences as well.
    pub count: usize,
}

/// The changes as they are written down.
pub(crate) fn changed(changes: &Changes) -> Vec<Changed> {
    let one = |((tag, change), count): (&(dicom_core::Tag, Change), &usize)| Changed {
        tag: tag.to_string(),
        name: values::name(*tag),
        change: *change,
        count: *count,
    };
    changes.iter().map(one).collect()
}

/// What `report.json` in the output holds: no name of an original.
#[derive(Debug, Serialize)]
pub(crate) struct Public<'a> {
    pub(crate) summary: &'a Summary,
    pub(crate) files: &'a [Written],
}
