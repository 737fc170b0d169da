//! Prompts from a file that the user wrote: JSON or CSV (documented in `docs/prediction.md`).

mod csv_table;
mod json;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{ObjectPrompt, coco::text, shares::are_shares};
use sonotune_base::{Error, Segmentation};

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
    /// Which frame of a clip, counted from 0.
    pub frame: Option<u32>,
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
            Some("json") => json::images(&text(&read()?, path)?),
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
            .and_then(|images| in_pixels(&images).map(|()| images))
            .map_err(|e| Error::data(format!("{}: {e:#}", path.display())))?;
        Ok(Self { path: path.to_owned(), images })
    }
}

/// Refuses a box or mask between 0 and 1, which would be within the first pixel, and points if all are.
fn in_pixels(images: &[PromptedImage]) -> Result<()> {
    let objects = || images.iter().flat_map(|image| &image.objects);
    let fault = |object: &PromptedObject, what: &str| {
        anyhow::anyhow!(
            "{}: {what} between 0 and 1: expected pixels of the image; multiply x by its width, y by \
             its height",
            object.place
        )
    };
    for object in objects() {
        // The first pixel is not an object; the whole image may be.
        if object.prompt.bbox.is_some_and(|bbox| are_shares(bbox) || bbox == [0.0, 0.0, 1.0, 1.0]) {
            return Err(fault(object, "the box is"));
        }
        if let Some(Segmentation::Polygons(polygons)) = &object.prompt.mask
            && are_shares(polygons.iter().flatten().copied())
        {
            return Err(fault(object, "the mask is"));
        }
    }
    let points = objects().flat_map(|object| &object.prompt.points);
    match objects().next() {
        Some(first) if are_shares(points.flat_map(|point| [point.x, point.y])) => {
            Err(fault(first, "all points are"))
        }
        _ => Ok(()),
    }
}

fn unique(images: &[PromptedImage]) -> Result<()> {
    anyhow::ensure!(!images.is_empty(), "it holds no prompts");
    let mut seen = HashMap::new();
    for image in images {
        if let Some(other) = seen.insert((image.file_name.as_str(), image.frame), &image.place) {
            anyhow::bail!(
                "{} and {other} are for the same image {}: list all its objects in one place",
                image.place,
                image.file_name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_image_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prompts.json");
        let read = |objects: &str| {
            let json =
                format!(r#"{{"images": [{{"file_name": "a.png", "objects": [{objects}]}}]}}"#);
            std::fs::write(&path, json).unwrap();
            PromptFile::read(&path).map(drop).map_err(|error| error.to_string())
        };
        for (objects, part) in [
            (r#"{"box": [4, 4, 9, 9]}, {"box": [0.2, 0.1, 0.7, 1]}"#, "objects[1]: the box is"),
            (r#"{"box": [0, 0, 1, 1]}"#, "the box is between 0 and 1: expected pixels"),
            (r#"{"mask": [[0.2, 0.1, 0.7, 0.1, 0.7, 0.5]]}"#, "the mask is between 0 and 1"),
            (
                r#"{"points": [[0.2, 0.1]]}, {"points": [[1, 0.5]]}"#,
                "all points are between 0 and 1",
            ),
        ] {
            let error = read(objects).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        for objects in [
            r#"{"points": [[0.5, 0.5]]}, {"points": [[20, 30]]}"#,
            r#"{"points": [[0, 0]]}"#,
            r#"{"box": [0.5, 0.5, 12.5, 12.5]}"#,
        ] {
            read(objects).unwrap();
        }
    }

    #[test]
    fn a_prompt_file_that_is_not_json_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prompts.json");
        std::fs::write(&path, "<html>").unwrap();
        let error = PromptFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("prompts.json: is not JSON, but a web page"), "{error}");
    }
}
