//! `data.json`: the annotations and image files that a run was started with, so that resuming notices
//! when they have changed.

use std::{path::Path, time::UNIX_EPOCH};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sonotune_base::{
    Error,
    fs::{atomic_write, read_if_exists},
    words::counted,
};
use sonotune_dataset::{Dataset, Record, Split, sha256};
use sonotune_run_folder::{RunFiles, RunFolder};

/// Content of `data.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DataRecord {
    splits: Vec<SplitRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SplitRecord {
    split: Split,
    source: String,
    /// SHA-256 of the annotation file; of what was read from it if there is no single file.
    annotations_sha256: String,
    /// Size and time of modification (seconds since 1970) of each image file in the order of the
    /// annotations; zeros if it was missing.
    files: Vec<(u64, u64)>,
}

impl DataRecord {
    /// The record of the splits that a run uses. Looks at the files, but does not read them.
    pub(crate) fn of<'a>(splits: impl IntoIterator<Item = (Split, Option<&'a Dataset>)>) -> Self {
        let record = |(split, dataset): (Split, Option<&Dataset>)| {
            let dataset = dataset?;
            Some(SplitRecord {
                split,
                source: dataset.source.display().to_string(),
                annotations_sha256: dataset
                    .source_sha256
                    .clone()
                    .unwrap_or_else(|| listing_sha256(dataset)),
                files: dataset.records.par_iter().map(|record| stamp(&record.path)).collect(),
            })
        };
        Self { splits: splits.into_iter().filter_map(record).collect() }
    }

    /// A hash of what must be the same for all processes of a run: annotations, and sizes of files.
    ///
    /// # Errors
    /// None that is known.
    pub(crate) fn digest(&self) -> Result<String> {
        let of_split = |record: &SplitRecord| {
            let sizes: Vec<u64> = record.files.iter().map(|&(size, _)| size).collect();
            (record.split, record.annotations_sha256.clone(), sizes)
        };
        let all: Vec<_> = self.splits.iter().map(of_split).collect();
        Ok(sha256(&serde_json::to_vec(&all)?))
    }

    /// Writes it into the folder of the run.
    ///
    /// # Errors
    /// Errors from the file system.
    pub(crate) fn write(&self, folder: &RunFolder) -> Result<()> {
        atomic_write(&folder.data(), serde_json::to_string(self)?.as_bytes())
    }

    /// Compares it with the record of the run in `run_dir`, which older versions did not write.
    /// Returns what is worth a warning.
    ///
    /// # Errors
    /// Of kind data if anything has changed, unless that is `allowed`.
    pub(crate) fn require_unchanged(&self, run_dir: &Path, allowed: bool) -> Result<Vec<String>> {
        let path = RunFiles::of(run_dir).data();
        let Some(text) = read_if_exists(&path)? else { return Ok(Vec::new()) };
        let before: Self = serde_json::from_str(&text).with_context(|| {
            Error::data(format!(
                "{} is damaged; remove it to resume without comparing the data",
                path.display()
            ))
        })?;
        let (mut changes, mut notes) = (Vec::new(), Vec::new());
        for now in &self.splits {
            match before.splits.iter().find(|before| before.split == now.split) {
                Some(before) => now.compare(before, &mut changes, &mut notes),
                None => changes.push(format!("the {} split is new", now.split)),
            }
        }
        if changes.is_empty() {
            return Ok(notes);
        }
        let changed = format!("the data has changed since the run began: {}", changes.join("; "));
        if allowed {
            notes.insert(0, format!("{changed} (--changed-data)"));
            return Ok(notes);
        }
        Err(Error::data(format!(
            "cannot resume {}: {changed}. Restore it, or add `--changed-data` to go on with the data \
             as it is now; scores before and after are then not of the same data",
            run_dir.display()
        ))
        .into())
    }
}

impl SplitRecord {
    fn compare(&self, before: &Self, changes: &mut Vec<String>, notes: &mut Vec<String>) {
        let (split, source) = (self.split, &self.source);
        let [then, now] = [before, self].map(|record| counted(record.files.len(), "image"));
        if self.annotations_sha256 != before.annotations_sha256 {
            let counts =
                if then == now { String::new() } else { format!(", from {then} to {now}") };
            changes.push(format!("the annotations of the {split} split ({source}){counts}"));
        } else if then != now {
            notes.push(format!("the config now selects {now} of the {split} split, before {then}"));
        } else {
            let pairs = || self.files.iter().zip(&before.files);
            let resized = pairs().filter(|(now, then)| now.0 != then.0).count();
            let touched = pairs().filter(|(now, then)| now.0 == then.0 && now.1 != then.1).count();
            if resized > 0 {
                let files = counted(resized, "image file");
                changes.push(format!("{files} of the {split} split ({source})"));
            }
            if touched > 0 {
                notes.push(format!(
                    "{split} split: {} written since the run began, with the same size: the run goes on \
                     as if the pixels were the same",
                    counted(touched, "image file")
                ));
            }
        }
    }
}

/// What was read of each image, for datasets that are not one file.
fn listing_sha256(dataset: &Dataset) -> String {
    let line = |record: &Record| {
        let Record { image_id, image_labels, values, objects, .. } = record;
        format!("{image_id:?} {image_labels:?} {values:?} {objects:?}\n")
    };
    let categories = format!("{:?}\n", dataset.categories);
    let all: String = std::iter::once(categories).chain(dataset.records.iter().map(line)).collect();
    sha256(all.as_bytes())
}

fn stamp(path: &Path) -> (u64, u64) {
    let Ok(metadata) = std::fs::metadata(path) else { return (0, 0) };
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    (metadata.len(), modified.map_or(0, |at| at.as_secs()))
}
