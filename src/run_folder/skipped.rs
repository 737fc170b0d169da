//! Images that a run could not use.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use sonotune_base::ImageId;

/// One image that was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedImage {
    /// Its path, and the number of its frame if it is one: `clip.mp4#17`.
    pub image: PathBuf,
    /// As the annotation file spells it.
    pub image_id: String,
    /// Where it would have come first: in the order of training, or in the split's file.
    pub position: u64,
    /// Optimiser steps done by then.
    pub step: u64,
    pub reason: String,
}

impl SkippedImage {
    /// Whether it is the image of that name and id.
    #[must_use]
    pub fn is(&self, path: &Path, id: &ImageId) -> bool {
        self.image == path && self.image_id == id.to_string()
    }
}
