//! The class folders of a split.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sonotune_base::Error;

use super::masks::leaves_out;
use crate::files::{endings, find_images, relative_text};

/// The folder of a class, without what the config leaves out.
#[derive(Debug)]
pub(super) struct ClassFolder {
    pub(super) path: PathBuf,
    pub(super) images: Vec<PathBuf>,
    /// Files that are not images.
    pub(super) others: Vec<PathBuf>,
    /// Files that each pattern of the config leaves out, images or not.
    pub(super) left_out: Vec<Vec<PathBuf>>,
}

impl ClassFolder {
    /// Reads the folder `path` of the split's folder `source`.
    ///
    /// # Errors
    /// If part of it is unreadable.
    pub(super) fn read(path: &Path, source: &Path, exclude: &[String]) -> Result<Self> {
        let found = find_images(path)?;
        let mut left_out = vec![Vec::new(); exclude.len()];
        let mut kept = |files: Vec<PathBuf>| -> Vec<PathBuf> {
            let keep = |file: &PathBuf| {
                let name = relative_text(file, source);
                let mut keep = true;
                for (pattern, left_out) in exclude.iter().zip(&mut left_out) {
                    if leaves_out(pattern, &name) {
                        left_out.push(file.clone());
                        keep = false;
                    }
                }
                keep
            };
            files.into_iter().filter(keep).collect()
        };
        let (images, others) = (kept(found.images), kept(found.others));
        Ok(Self { path: path.to_owned(), images, others, left_out })
    }

    /// Whether the config leaves out the whole folder: then it is not a class.
    pub(super) fn is_left_out(&self, source: &Path, exclude: &[String]) -> bool {
        let name = relative_text(&self.path, source);
        let is_empty = self.images.is_empty() && self.others.is_empty();
        let by_files = self.left_out.iter().any(|files| !files.is_empty());
        is_empty && (by_files || exclude.iter().any(|pattern| leaves_out(pattern, &name)))
    }

    /// Why it cannot be the folder of a class, if it cannot.
    pub(super) fn fault(&self, source: &Path) -> Option<Error> {
        if !self.images.is_empty() {
            return None;
        }
        let (what, remedy) = match &self.others[..] {
            [] => ("the folder is empty".to_owned(), "Add images"),
            files => (
                format!("its files are not read as images ({})", endings(files)),
                "Convert them to PNG, JPEG, BMP, TIFF or WebP",
            ),
        };
        Some(Error::data(format!(
            "{}: a class without images: {what}. {remedy}, or leave the folder out: \
             dataset.exclude = [\"{}\"]",
            self.path.display(),
            relative_text(&self.path, source)
        )))
    }
}
