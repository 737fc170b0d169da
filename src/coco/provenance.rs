//! Where the images of a file come from.

use serde::{Deserialize, Serialize};

/// Where an image comes from; every field goes into its COCO record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Path within the source, with `/`; for a file in an archive, the path after unpacking.
    pub source_file: String,
    /// The patient, if the source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// The study and the series, for DICOM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// Video, sweep or volume: neighbouring images of a clip are very similar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<String>,
    /// Slice or frame within `source_file`, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u32>,
    /// The split that the dataset's authors assigned: `train`, `val` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub official_split: Option<String>,
}
