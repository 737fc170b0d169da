//! The report of a division.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use super::{
    Part,
    groups::{Group, Unit},
    keys::Told,
};
use crate::CocoFile;

#[derive(Debug, Clone, Serialize)]
pub struct SplitReport {
    /// The units that kept images together.
    pub units: UnitCounts,
    /// Names, in the order of `objects`.
    pub categories: Vec<String>,
    pub parts: Vec<PartSummary>,
    /// Categories that a split lacks.
    pub absences: Vec<Absence>,
    /// Keys other than `patient` that gave the patients.
    pub patient_keys: Vec<String>,
    /// Images without a known patient, in a file that has patients.
    pub without_patient: usize,
    /// Keys that were not used, and that may group the images of a patient.
    pub candidate_keys: Vec<String>,
    /// How many sets of images are the same.
    pub copies: usize,
    /// Those sets whose images are in several splits, by file name.
    pub parted: Vec<Vec<String>>,
    /// Why images could not be compared with others.
    pub unreadable: Vec<String>,
    /// Files that were written.
    pub files: Vec<PathBuf>,
    /// Files of an earlier split in the same folder; their images may also be in this split's files.
    pub stale: Vec<PathBuf>,
}

/// Number of groups by the unit that keeps their images together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UnitCounts {
    /// Values of the key to group by.
    pub keys: usize,
    pub patients: usize,
    pub clips: usize,
    /// Files with several frames.
    pub files: usize,
    pub images: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct PartSummary {
    /// For a fold, the other fields count its validation images.
    pub name: String,
    pub images: usize,
    pub groups: usize,
    /// Number of objects by category.
    pub objects: Vec<usize>,
}

/// A category that a split lacks.
#[derive(Debug, Clone, Serialize)]
pub struct Absence {
    pub category: String,
    /// Number of groups that show it.
    pub groups: usize,
    pub missing_from: Vec<String>,
    pub reason: String,
}

pub(super) fn of(file: &CocoFile, groups: &[Group], absences: Vec<Absence>) -> SplitReport {
    let mut units = UnitCounts::default();
    let mut parts: BTreeMap<usize, PartSummary> = BTreeMap::new();
    for group in groups {
        *match group.unit {
            Unit::Key => &mut units.keys,
            Unit::Patient => &mut units.patients,
            Unit::Clip => &mut units.clips,
            Unit::File => &mut units.files,
            Unit::Image => &mut units.images,
        } += 1;
        let part = group.part();
        let summary = parts.entry(rank(part)).or_insert_with(|| PartSummary {
            name: part.to_string(),
            images: 0,
            groups: 0,
            objects: vec![0; file.categories.len()],
        });
        summary.images += group.len();
        summary.groups += 1;
        group.objects.iter().for_each(|&(category, count)| summary.objects[category] += count);
    }
    SplitReport {
        units,
        categories: file.categories.iter().map(|c| c.name.clone()).collect(),
        parts: parts.into_values().collect(),
        absences,
        patient_keys: Vec::new(),
        without_patient: 0,
        candidate_keys: Vec::new(),
        copies: 0,
        parted: Vec::new(),
        unreadable: Vec::new(),
        files: Vec::new(),
        stale: Vec::new(),
    }
}

impl SplitReport {
    pub(super) fn tell(&mut self, told: Told) {
        self.patient_keys = told.patient_keys;
        self.without_patient = told.without_patient;
        self.candidate_keys = told.candidates;
    }
}

/// The sets of images that are not in one part.
pub(super) fn parted(file: &CocoFile, parts: &[Part], together: &[Vec<usize>]) -> Vec<Vec<String>> {
    let is_parted = |images: &&Vec<usize>| images.iter().any(|&i| parts[i] != parts[images[0]]);
    let name = |&i: &usize| file.images[i].file_name.to_string();
    together.iter().filter(is_parted).map(|images| images.iter().map(name).collect()).collect()
}

fn rank(part: Part) -> usize {
    match part {
        Part::Train => 0,
        Part::Val => 1,
        Part::Fold(fold) => 2 + fold,
        Part::Test => usize::MAX,
    }
}
