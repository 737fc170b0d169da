//! Categories of annotations.

use serde::{Deserialize, Serialize};

/// A class of objects or images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Id in the annotation file, for output that goes back there.
    pub id: i64,
    pub name: String,
}
