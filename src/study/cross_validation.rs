//! Folds in which every image is tested once, by a model that neither learnt from its group nor was chosen on
//! it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use sonotune_base::Error;
use sonotune_coco::{
    output,
    split::{Part, SplitOptions, SplitReport, plan_file},
};

/// The files of one fold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoldFiles {
    pub train: PathBuf,
    pub val: PathBuf,
    pub test: PathBuf,
}

/// A file divided for cross-validation.
#[derive(Debug, Clone)]
pub(crate) struct CrossValidation {
    pub folds: Vec<FoldFiles>,
    /// File name and group of each image: those of one group stay together.
    pub groups: Vec<(String, usize)>,
    pub report: SplitReport,
}

/// Divides the COCO file at `input` into as many parts as `options.folds` says, and writes
/// `fold0/train.json`, `fold0/val.json`, `fold0/test.json` and so on into `folder`: fold i tests on part i,
/// validates on the next part, and trains on all others. Files that are there are replaced.
///
/// # Errors
/// Same errors as [`plan_file`]; also if there are fewer than three folds, if the file has an official test set
/// that the options keep, or if an output cannot be written.
pub(crate) fn cross_validation(
    input: &Path,
    folder: &Path,
    options: &SplitOptions,
) -> Result<CrossValidation> {
    let count = options.folds.unwrap_or_default();
    if count < 3 {
        return Err(Error::config(format!(
            "{count} folds: expected at least 3, so that one tests, one validates and the others train"
        ))
        .into());
    }
    let (file, plan) = plan_file(input, options)?;
    if let Some(image) = plan.parts.iter().position(|&part| part == Part::Test) {
        return Err(Error::data(format!(
            "{}: {} belongs to the official test set, so not every image can be tested in a fold; ignore the \
             official split, or use it instead of folds",
            input.display(),
            file.images[image].file_name
        ))
        .into());
    }
    let files = |fold: usize| {
        let path = |name: &str| folder.join(format!("fold{fold}/{name}.json"));
        FoldFiles { train: path("train"), val: path("val"), test: path("test") }
    };
    let folds: Vec<_> = (0..count).map(files).collect();
    let paths = |fold: &FoldFiles| [fold.train.clone(), fold.val.clone(), fold.test.clone()];
    output::prepare(&folds.iter().flat_map(paths).collect::<Vec<_>>(), &[input], true)?;
    let parts = &plan.parts;
    for (fold, files) in folds.iter().enumerate() {
        let (test, val) = (Part::Fold(fold), Part::Fold((fold + 1) % count));
        file.write_selected(&files.train, |i| parts[i] != test && parts[i] != val)?;
        file.write_selected(&files.val, |i| parts[i] == val)?;
        file.write_selected(&files.test, |i| parts[i] == test)?;
    }
    let names = file.images.into_iter().map(|image| image.file_name);
    Ok(CrossValidation { folds, groups: names.zip(plan.groups).collect(), report: plan.report })
}
