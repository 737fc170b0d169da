//! The division of a study's images.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sonotune_base::{
    Error,
    fs::{atomic_write, read_if_exists},
    words::listed,
};
use sonotune_coco::split::{SplitOptions, SplitReport};
use sonotune_dataset::sha256;

use crate::{
    config::FoldsConfig,
    cross_validation::{FoldFiles, cross_validation},
};

/// Folds, made or found.
#[derive(Debug, Clone)]
pub struct Folds {
    pub files: Vec<FoldFiles>,
    /// What a reader must know, such as a category that a fold lacks.
    pub notes: Vec<String>,
    /// The group of each image by its file's name: those of one group are not independent.
    pub groups: BTreeMap<String, usize>,
}

/// What the folds were made from; written last, so that a folder without it was interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Made {
    sha256: String,
    options: FoldsConfig,
    notes: Vec<String>,
    groups: BTreeMap<String, usize>,
}

impl Folds {
    /// The overrides that make a run use a fold.
    pub(crate) fn overrides(&self, fold: usize) -> Result<Vec<String>> {
        let files = self.files.get(fold).context("there is no such fold")?;
        let set = |split: &str, file: &Path| -> Result<String> {
            // The dataset's root is not where they are.
            let file = std::path::absolute(file)?;
            let text = file.to_str().with_context(|| format!("{} is not UTF-8", file.display()))?;
            Ok(format!("dataset.{split}={}", toml::Value::String(text.to_owned())))
        };
        Ok(vec![set("train", &files.train)?, set("val", &files.val)?, set("test", &files.test)?])
    }
}

/// Makes the folds of a study in `folder`, or finds them there.
///
/// # Errors
/// If the images cannot be divided so (too few patients, say), or if the folder holds folds of other
/// annotations or options: runs may have learnt from what would now be tested.
pub fn make_folds(config: &FoldsConfig, folder: &Path) -> Result<Folds> {
    let bytes = std::fs::read(&config.annotations)
        .with_context(|| format!("folds.annotations: {}", config.annotations.display()))?;
    let sha256 = sha256(&bytes);
    drop(bytes);
    let marker = folder.join("folds.json");
    if let Some(text) = read_if_exists(&marker)? {
        let made: Made = serde_json::from_str(&text).map_err(|error| {
            Error::data(format!("{} is not a record of folds: {error}", marker.display()))
        })?;
        let is_same = made.options == *config && made.sha256 == sha256;
        if is_same {
            let files = files(config.count, folder);
            return Ok(Folds { files, notes: made.notes, groups: made.groups });
        }
        // Until a run has begun, nobody has learnt from them.
        if folder.with_file_name("runs").exists() {
            return Err(others(&made, config, folder).into());
        }
    }
    let options = SplitOptions {
        val: 0.0,
        test: 0.0,
        folds: Some(config.count),
        by: config.by,
        group_by: config.group_by.clone(),
        copies: config.duplicates,
        seed: config.seed,
        official: config.official,
        stratify: config.stratify,
    };
    let made = cross_validation(&config.annotations, folder, &options)?;
    let notes = notes(&made.report);
    let groups = made.groups.into_iter().collect();
    let record = Made { sha256, options: config.clone(), notes, groups };
    atomic_write(&marker, serde_json::to_string_pretty(&record)?.as_bytes())?;
    Ok(Folds { files: made.folds, notes: record.notes, groups: record.groups })
}

fn others(made: &Made, config: &FoldsConfig, folder: &Path) -> Error {
    let what = match made.options == *config {
        true => format!("{} has changed", config.annotations.display()),
        false => "the options of `[folds]` have changed".to_owned(),
    };
    Error::config(format!(
        "{what} since the folds in {} were made; choose another study_dir, or restore what was",
        folder.display()
    ))
}

fn files(count: usize, folder: &Path) -> Vec<FoldFiles> {
    let path =
        |fold: usize, name: &str| -> PathBuf { folder.join(format!("fold{fold}/{name}.json")) };
    let of = |fold| FoldFiles {
        train: path(fold, "train"),
        val: path(fold, "val"),
        test: path(fold, "test"),
    };
    (0..count).map(of).collect()
}

fn notes(report: &SplitReport) -> Vec<String> {
    let mut notes = Vec::new();
    for absence in &report.absences {
        notes.push(format!(
            "category {} is missing from {} ({}): it does not count there",
            absence.category,
            absence.missing_from.join(", "),
            absence.reason
        ));
    }
    if report.without_patient > 0 {
        notes.push(format!(
            "{} images name no patient: their clip or file stays together, if they name one",
            report.without_patient
        ));
    }
    if report.units.patients == 0 && report.units.keys == 0 {
        notes.push(
            "no image names its patient: images of one patient may be in different folds, and intervals \
             count each image (or clip) on its own"
                .to_owned(),
        );
    }
    if let Some(first) = report.parted.first() {
        notes.push(format!(
            "identical images are in different folds, such as {}; folds.duplicates = \"identical\" keeps them \
             together",
            listed(first, 3)
        ));
    }
    notes
}
