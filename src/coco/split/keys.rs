//! Which keys of an image say what it belongs to.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use anyhow::Result;
use sonotune_base::{
    Error,
    words::{did_you_mean, listed},
};
use sonotune_dataset::coco::patient::{known, names_patient, parts_of, patient_of, text};

use crate::{CocoFile, ImageRecord};

/// The patient of an image, under whatever key it has.
#[must_use]
pub fn patient(image: &ImageRecord) -> Option<Cow<'_, str>> {
    own_patient(image).or_else(|| patient_of(&image.extra))
}

fn own_patient(image: &ImageRecord) -> Option<Cow<'_, str>> {
    image.provenance.patient.as_deref().map(Cow::Borrowed).and_then(known)
}

/// The value of any key, unless it says that nobody knows it.
pub(super) fn value<'a>(image: &'a ImageRecord, key: &str) -> Option<Cow<'a, str>> {
    let from = &image.provenance;
    let own = match key {
        "patient" => from.patient.as_deref(),
        "clip" => from.clip.as_deref(),
        "source_file" => Some(&*from.source_file),
        "dataset" => image.dataset.as_deref(),
        "application" => image.application.as_deref(),
        _ => None,
    };
    own.map(Cow::Borrowed).or_else(|| text(image.extra.get(key)?)).and_then(known)
}

/// # Errors
/// If no image has the key; names those that they have.
pub(super) fn require(file: &CocoFile, key: &str) -> Result<()> {
    if file.images.iter().any(|image| value(image, key).is_some()) {
        return Ok(());
    }
    let mut keys: Vec<&str> =
        file.images.iter().flat_map(|i| i.extra.0.iter().map(|(key, _)| &**key)).collect();
    keys.sort_unstable();
    keys.dedup();
    let near = did_you_mean(key, keys.iter().copied());
    let others = match &keys[..] {
        [] => "they have no keys of their own".to_owned(),
        keys => format!("other keys are {}", listed(keys, 20)),
    };
    Err(Error::config(format!("--group-by {key}: no image has a value of it{near}; {others}"))
        .into())
}

/// What a division by patient should tell about the keys of the images.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Keys other than `patient` from which patients were taken.
    pub(super) patient_keys: Vec<String>,
    /// Images without a known patient, if others have one or a key for it is there.
    pub(super) without_patient: usize,
    /// Keys that several images share values of, and that may be those of a patient.
    pub(super) candidates: Vec<String>,
}

impl Told {
    pub(super) fn of(file: &CocoFile) -> Self {
        let unknown = file.images.iter().filter(|image| patient(image).is_none()).count();
        let is_named = |image: &ImageRecord| {
            image.provenance.patient.is_some()
                || image.extra.0.iter().any(|(key, _)| names_patient(key))
        };
        let without_patient = if file.images.iter().any(is_named) { unknown } else { 0 };
        let mut patient_keys: Vec<String> = Vec::new();
        for image in file.images.iter().filter(|image| own_patient(image).is_none()) {
            for (key, value) in image.extra.0.iter().filter(|(key, _)| names_patient(key)) {
                let is_new = !patient_keys.iter().any(|known| **known == **key);
                if is_new && text(value).and_then(known).is_some() {
                    patient_keys.push(String::from(&**key));
                }
            }
        }
        let candidates = if unknown == 0 { Vec::new() } else { candidates(file) };
        Self { patient_keys, without_patient, candidates }
    }
}

fn candidates(file: &CocoFile) -> Vec<String> {
    let mut values: BTreeMap<&str, (HashSet<Cow<'_, str>>, usize)> = BTreeMap::new();
    for image in &file.images {
        for (key, value) in parts_of(&image.extra) {
            let (distinct, count) = values.entry(key).or_default();
            distinct.insert(value);
            *count += 1;
        }
    }
    let shared = values.into_iter().filter(|(_, (distinct, count))| distinct.len() < *count);
    shared.map(|(key, _)| key.to_owned()).collect()
}
