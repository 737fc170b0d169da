//! Images that are tested although a model knows them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Result;
use sonotune_base::{
    Error,
    words::{counted, listed},
};
use sonotune_coco::{CocoFile, split::patient};

/// Compares the COCO files of a training, a validation and a test split. Returns what a reader of the scores
/// must know; nothing is known of splits in other formats.
///
/// # Errors
/// Of kind data, if images of the test split are also trained on.
pub fn leaks(sources: &[Option<PathBuf>; 3]) -> Result<Vec<String>> {
    let [train, val, test] = sources;
    let Some(test) = test else { return Ok(Vec::new()) };
    let mut notes = Vec::new();
    if val.as_ref() == Some(test) {
        notes.push(format!(
            "{} is both validation and test split: checkpoints were chosen on what they are scored on, so the \
             scores are too high",
            test.display()
        ));
    }
    let Some(tested) = Known::read(test) else { return Ok(notes) };
    if let Some((path, trained)) =
        train.as_deref().and_then(|path| Some((path, Known::read(path)?)))
    {
        let shared: Vec<_> = tested.files.intersection(&trained.files).collect();
        if !shared.is_empty() {
            return Err(Error::data(format!(
                "{} of {} are also in {}, such as {}: a model would be tested on what it has learnt",
                counted(shared.len(), "image"),
                test.display(),
                path.display(),
                listed(&shared, 3)
            ))
            .into());
        }
        notes.extend(tested.patients_in(&trained, "training"));
    }
    if let Some(chosen) = val.as_deref().filter(|val| val != test).and_then(Known::read) {
        if let Some(first) = tested.files.intersection(&chosen.files).next() {
            notes.push(format!(
                "images of the test split, such as {first}, are also in the validation split, on which \
                 checkpoints are chosen"
            ));
        }
        notes.extend(tested.patients_in(&chosen, "validation"));
    }
    Ok(notes)
}

struct Known {
    files: BTreeSet<String>,
    patients: BTreeSet<String>,
}

impl Known {
    fn read(path: &Path) -> Option<Self> {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let file = is_json.then(|| CocoFile::read(path).ok()).flatten()?;
        let patients = file.images.iter().filter_map(patient).map(|name| name.into_owned());
        Some(Self {
            patients: patients.collect(),
            files: file.images.iter().map(|image| image.file_name.clone()).collect(),
        })
    }

    fn patients_in(&self, other: &Self, split: &str) -> Option<String> {
        let shared = self.patients.intersection(&other.patients).count();
        (shared > 0).then(|| {
            format!(
                "{} of the test split also have images in the {split} split: scores are too high",
                counted(shared, "patient")
            )
        })
    }
}
