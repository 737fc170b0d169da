//! Classification datasets with one folder per class.
//!
//! ```toml
//! [dataset]
//! type = "image_folder"
//! root = "data/busi"      # data/busi/train/benign/*.png, data/busi/train/malignant/*.png, …
//! train = "train"
//! val = "val"
//! ```

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sonotune_base::words::did_you_mean;

use super::{
    Dataset, DatasetConfig, Record, Split,
    dataset::missing_split,
    files::{find_images, relative_text, sub_folders},
};
use crate::findings::{Audit, Code, Findings, Place};
use sonotune_base::Error;
use sonotune_base::{
    Category, ImageId,
    names::{duplicate, quoted},
};

/// `type = "image_folder"`: images for classification, sorted into one folder per class.
///
/// Images of a class may be in subfolders of its folder. A validation or test split may lack the
/// folder of a class, but must not have one that the training split lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFolderConfig {
    /// Folder that the splits are in.
    #[serde(default)]
    pub root: PathBuf,
    /// Folder of a split, below `root`.
    pub train: Option<PathBuf>,
    pub val: Option<PathBuf>,
    pub test: Option<PathBuf>,
    /// Folder names in the order of class indices. Default: those of the train split, sorted.
    pub categories: Option<Vec<String>>,
}

inventory::submit! {
    sonotune_config::Summary::of("dataset", "image_folder", "classification: a folder of images for each class")
}

#[typetag::serde(name = "image_folder")]
impl DatasetConfig for ImageFolderConfig {
    fn splits(&self) -> Vec<Split> {
        Split::ALL.into_iter().filter(|&s| self.split(s).is_some()).collect()
    }

    fn source(&self, split: Split) -> Option<PathBuf> {
        self.split(split).map(|path| self.root.join(path))
    }

    fn open(&self, split: Split) -> Result<Dataset> {
        let Some(folder) = self.split(split) else {
            return Err(missing_split(split, &self.splits()));
        };
        let source = self.root.join(folder);
        let names = self.category_names(&source)?;
        let (folders, num_beside) = sub_folders(&source)?;
        let mut dataset = Dataset { source, ..Dataset::default() };
        let mut num_others = num_beside;
        for folder in folders {
            let name = folder_name(&folder);
            let label = index_of(&name, &names, &folder)?;
            let found = find_images(&folder)?;
            num_others += found.num_others;
            dataset.records.extend(found.images.into_iter().map(|path| self.record(path, label)));
        }
        if num_others > 0 {
            dataset
                .notes
                .push(format!("{num_others} files passed over: not an image, or not in a class"));
        }
        dataset.categories = numbered(names);
        dataset.ensure_images()?;
        Ok(dataset)
    }

    /// Reports folders of unknown classes and reads the others.
    fn audit(&self, split: Split) -> Audit {
        let Some(folder) = self.split(split) else { return Audit::default() };
        let source = self.root.join(folder);
        let opened = self.category_names(&source).and_then(|n| Ok((n, sub_folders(&source)?.0)));
        let (names, folders) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let mut audit = Audit { source: source.clone(), ..Audit::default() };
                let place = Place::file(&source);
                audit.findings.add(Code::UnreadableAnnotations, place, format!("{error:#}"));
                return audit;
            }
        };
        let mut dataset =
            Dataset { source, categories: numbered(names.clone()), ..Dataset::default() };
        let mut findings = Findings::default();
        for folder in folders {
            let name = folder_name(&folder);
            let read = index_of(&name, &names, &folder).map_err(|e| (Code::UnknownCategory, e));
            let read = read.and_then(|label| match find_images(&folder) {
                Ok(found) => Ok((label, found.images)),
                Err(error) => Err((Code::UnreadableAnnotations, error)),
            });
            match read {
                Ok((label, images)) => {
                    dataset.records.extend(images.into_iter().map(|path| self.record(path, label)));
                }
                Err((code, error)) => {
                    findings.add(code, Place::file(&folder), format!("{error:#}"));
                }
            }
        }
        Audit { findings, ..Audit::from(dataset) }
    }
}

impl ImageFolderConfig {
    fn record(&self, path: PathBuf, label: u32) -> Record {
        let image_id = ImageId::Text(relative_text(&path, &self.root).into());
        Record { image_labels: vec![label], ..Record::new(image_id, path) }
    }

    fn split(&self, split: Split) -> Option<&Path> {
        match split {
            Split::Train => self.train.as_deref(),
            Split::Val => self.val.as_deref(),
            Split::Test => self.test.as_deref(),
        }
    }

    /// From the config, else from the train split, else from the split itself.
    fn category_names(&self, source: &Path) -> Result<Vec<String>> {
        if let Some(names) = &self.categories {
            check_names(names)?;
            return Ok(names.clone());
        }
        let train = self.train.as_ref().map(|train| self.root.join(train));
        let folder = train.as_deref().unwrap_or(source);
        let names: Vec<String> = sub_folders(folder)?.0.iter().map(|f| folder_name(f)).collect();
        if names.is_empty() {
            return Err(Error::data(format!(
                "{}: no folders: expected one folder of images per class",
                folder.display()
            ))
            .into());
        }
        Ok(names)
    }
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn index_of(name: &str, names: &[String], folder: &Path) -> Result<u32> {
    let found = names.iter().position(|n| n == name).map(|i| i as u32);
    found.ok_or_else(|| {
        let hint = did_you_mean(name, names.iter().map(String::as_str));
        Error::data(format!(
            "{}: \"{name}\" is not a class{hint}; the classes are {}",
            folder.display(),
            quoted(names)
        ))
        .into()
    })
}

/// Rejects an empty list of names and duplicate names.
pub(super) fn check_names(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::config(
            "dataset.categories is empty: name at least one, or leave the key out",
        )
        .into());
    }
    if let Some(name) = duplicate(names) {
        return Err(Error::config(format!("dataset.categories lists \"{name}\" twice")).into());
    }
    Ok(())
}

/// Categories whose ids are their class indices.
pub(super) fn numbered(names: Vec<String>) -> Vec<Category> {
    names.into_iter().enumerate().map(|(i, name)| Category { id: i as i64, name }).collect()
}
