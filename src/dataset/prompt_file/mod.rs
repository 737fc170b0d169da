//! Prompts from a file that the user wrote: JSON or CSV (documented in `docs/prediction.md`).

mod csv_table;
mod json;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::ObjectPrompt;
use sonotune_base::Error;

/// Prompts for a number of images.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptFile {
    /// The file it was read from, for messages.
    pub path: PathBuf,
    /// In the order of the file; no two are for the same image.
    pub images: Vec<PromptedImage>,
}

/// What is asked about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptedImage {
    pub file_name: String,
    /// `images[3]` or `line 7`.
    pub place: String,
    pub objects: Vec<PromptedObject>,
}

/// A prompt whose category is still a name.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptedObject {
    pub prompt: ObjectPrompt,
    pub category: Option<String>,
    /// `images[3].objects[0]` or `line 7`.
    pub place: String,
}

impl PromptFile {
    /// Reads a `.json` or `.csv` file. Whether prompts fit their images is checked only with the images.
    ///
    /// # Errors
    /// A data error that names the file and the line or entry that is malformed, incomplete or unknown.
    pub fn read(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        let read = || {
            std::fs::read(path)
                .with_context(|| Error::data(format!("cannot read the prompts {}", path.display())))
        };
        let images = match extension.as_deref() {
            Some("json") => json::images(&read()?),
            Some("csv") => csv_table::images(&read()?),
            _ => {
                return Err(Error::data(format!(
                    "{}: the name of a prompt file must end in .json or .csv",
                    path.display()
                ))
                .into());
            }
        };
        let images = images
            .and_then(|images| unique(&images).map(|()| images))
            .map_err(|e| Error::data(format!("{}: {e:#}", path.display())))?;
        Ok(Self { path: path.to_owned(), images })
    }
}

fn unique(images: &[PromptedImage]) -> Result<()> {
    anyhow::ensure!(!images.is_empty(), "it holds no prompts");
    let mut seen = HashMap::new();
    for image in images {
        if let Some(other) = seen.insert(image.file_name.as_str(), &image.place) {
            anyhow::bail!(
                "{} and {other} are for the same image {}: list all its objects in one place",
                image.place,
                image.file_name
            );
        }
    }
    Ok(())
}
