//! What a conversion did.

use serde::{Deserialize, Serialize};

use super::{Options, journal::Finished};
use crate::{
    CocoFile,
    problem::{OnProblem, Problem},
    readers::Plan,
    spec::Spec,
};

/// What was converted and what was left out; `OUT/conversion.json` holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Converted {
    /// The dataset.
    pub name: String,
    /// Hash of the spec, its choices, and the source's names and sizes.
    pub fingerprint: String,
    /// Images written.
    pub images: usize,
    /// Of them without an object.
    pub images_without_object: usize,
    /// Objects by category.
    pub categories: Vec<CategoryCount>,
    /// Objects in all.
    pub objects: usize,
    /// What was left out, and why.
    pub left_out: LeftOut,
    /// Nothing had to be done: an earlier call had finished.
    #[serde(skip)]
    pub already_complete: bool,
}

/// Objects of one category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryCount {
    /// As in the spec.
    pub name: String,
    /// Objects.
    pub objects: usize,
    /// Images with at least one.
    pub images: usize,
}

/// What was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Images without an object, where the spec says `empty = "skip"`.
    pub empty: usize,
    /// Images without a mask, where the spec says `unpaired = "skip"`.
    pub unpaired: Vec<String>,
    /// Files with problems, under `--on-problem skip`.
    pub problems: Vec<Problem>,
    /// Most problems that would have been let pass.
    pub max_problems: usize,
}

impl Converted {
    pub(super) fn new(
        spec: &Spec,
        plan: &Plan,
        finished: &[Finished],
        file: &CocoFile,
        fingerprint: &str,
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
            fingerprint: fingerprint.to_owned(),
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
