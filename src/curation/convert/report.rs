//! The report of a conversion.

use serde::{Deserialize, Serialize};

use super::{Options, fingerprint::Fingerprint, journal::Finished};
use crate::{
    problem::{OnProblem, Problem},
    readers::Plan,
    spec::Spec,
};
use sonotune_coco::CocoFile;

/// What was converted and what was left out; stored as `OUT/conversion.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Converted {
    /// Name of the dataset.
    pub name: String,
    /// Hash of the spec, its choices, and the names and contents of the source's files.
    pub fingerprint: String,
    /// Hash of the same, with the files' sizes and times in place of their contents.
    #[serde(default)]
    pub source_times: String,
    /// Number of images written.
    pub images: usize,
    /// Number of those that have no object.
    pub images_without_object: usize,
    /// Number of objects by category.
    pub categories: Vec<CategoryCount>,
    /// Total number of objects.
    pub objects: usize,
    /// What was left out, and why.
    pub left_out: LeftOut,
    /// Whether an earlier call had already finished, so that nothing had to be done.
    #[serde(skip)]
    pub already_complete: bool,
}

/// Number of objects of one category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryCount {
    /// Name of the category, as in the spec.
    pub name: String,
    /// Number of objects.
    pub objects: usize,
    /// Number of images with at least one.
    pub images: usize,
}

/// What was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Number of images without an object, if the spec says `empty = "skip"`.
    pub empty: usize,
    /// Images without a mask, if the spec says `unpaired = "skip"`.
    pub unpaired: Vec<String>,
    /// Files with problems, under `--on-problem skip`.
    pub problems: Vec<Problem>,
    /// Maximum number of problems allowed.
    pub max_problems: usize,
}

impl Converted {
    pub(super) fn new(
        spec: &Spec,
        plan: &Plan,
        finished: &[Finished],
        file: &CocoFile,
        fingerprint: &Fingerprint,
        options: &Options,
    ) -> Self {
        let images = || finished.iter().flat_map(|entry| &entry.images);
        let categories = spec.categories.iter().map(|category| {
            let count = |image: &super::journal::WrittenImage| {
                image.objects.iter().filter(|object| object.category == category.id).count()
            };
            CategoryCount {
                name: category.name.clone(),
                objects: images().map(count).sum(),
                images: images().filter(|image| count(image) > 0).count(),
            }
        });
        let late = finished.iter().filter_map(|entry| entry.problem.clone());
        Self {
            name: spec.name.clone(),
            fingerprint: fingerprint.whole.clone(),
            source_times: fingerprint.times.clone(),
            images: file.images.len(),
            images_without_object: images().filter(|image| image.objects.is_empty()).count(),
            categories: categories.collect(),
            objects: file.annotations.len(),
            left_out: LeftOut {
                empty: finished.iter().map(|entry| entry.empty).sum(),
                unpaired: plan.skipped.clone(),
                problems: plan.problems.iter().cloned().chain(late).collect(),
                max_problems: match options.on_problem {
                    OnProblem::Fail => 0,
                    OnProblem::Skip { cap } => cap,
                },
            },
            already_complete: false,
        }
    }
}
