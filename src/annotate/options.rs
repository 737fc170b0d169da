//! What a session is asked to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sonotune_dataset::FrameChoice;

/// The order in which images are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    #[default]
    Name,
    /// The least certain first, by the model.
    Uncertainty,
}

/// What to annotate, where to save it, and how to show it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// An image, DICOM file or clip, or a folder to search for them.
    pub images: PathBuf,
    /// Which frames of clips are offered.
    pub frames: FrameChoice,
    /// The COCO file that is continued or begun; `None`: [`Options::default_file`].
    pub annotations: Option<PathBuf>,
    /// Names of categories, added to those of the file.
    pub categories: Vec<String>,
    /// Who annotates; written into the file with each object.
    pub reader: Option<String>,
    /// The file of a first reader, which this one is compared with.
    pub second_reading_of: Option<PathBuf>,
    pub order: Order,
    /// 0: any that is free.
    pub port: u16,
}

impl Options {
    /// Where annotations are saved if nothing else is said: `annotations.json` in the folder of the images; for a
    /// second reading the name of the first file with the reader's, `annotations.second.json` without one.
    #[must_use]
    pub fn default_file(&self) -> PathBuf {
        if let Some(first) = &self.second_reading_of {
            let stem = first.file_stem().unwrap_or_default().to_string_lossy();
            let plain = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' };
            let reader: String =
                self.reader.as_deref().unwrap_or("second").chars().map(plain).collect();
            return first.with_file_name(format!("{stem}.{reader}.json"));
        }
        let folder = if self.images.is_dir() {
            &*self.images
        } else {
            sonotune_base::fs::folder_of(&self.images)
        };
        folder.join("annotations.json")
    }
}
