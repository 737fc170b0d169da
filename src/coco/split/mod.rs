//! Training, validation and test split, or folds, of a COCO file.
//!
//! The units of division are groups: a patient's images, a clip's, or single images ([`By`]). No group
//! is ever in two splits. The choice is constructive, depends on the seed alone and always terminates:
//!
//! 1. The split that a dataset's authors published is kept ([`Official`]). A dataset with an
//!    official validation set contributes nothing else to validation; likewise for test.
//! 2. Category presence: for each category that no validation group shows yet, rarest first, one
//!    group that shows it is set aside for validation, and one for training.
//! 3. Test and validation are filled from the remaining groups, in random order, as long as a group
//!    brings the number of images closer to its target; with `stratify`, by iterative stratification
//!    over the objects of each category (and over datasets). All else is training.
//!
//! Guarantees: training is never empty, and neither is any requested split.
//! A category that at least two free groups show is in training and in validation, provided that
//! some division does this for all such categories together and the search finds it within
//! 20,000 steps. It always does if no group shows more than one category, or if each category
//! is in more groups than there are categories. (In general there may be no such division: three
//! groups that each show two of three categories.) Every category that is not in both is reported, with
//! the reason. By image and without `stratify`, sizes are exact unless presence needs more: of N
//! images, `floor((1 - val) · N)` are for training, as in US-43d. By group they are off by less than the
//! smallest group that is free to move.
//!
//! For folds, a category is in the validation images of as many folds as it has groups (at most
//! all), under the same condition on groups with several categories; shortfalls are reported.
//! Official validation images take part in the folds; official test images are in a separate
//! `test.json`.

mod copies;
mod fill;
mod folds;
mod groups;
mod keys;
mod official;
mod presence;
mod report;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sonotune_base::{Error, seed::Rng, words::counted};

pub use crate::split::copies::Copies;
use crate::split::groups::Group;
pub use crate::split::keys::patient;
pub use crate::split::report::{Absence, PartSummary, SplitReport, UnitCounts};
use crate::{CocoFile, output};

/// First coordinate of the random streams of this module.
const SPLIT: u64 = 0x53_504c_4954;

/// Which images stay together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// For each image the largest known unit: patient, else clip, else the file of which it is a
    /// frame, else the image itself.
    Auto,
    /// All images of a patient; each image must specify it.
    Patient,
    /// All images of a clip (video, sweep, volume); each image must specify it.
    Clip,
    /// Every image on its own, as US-43d was split: neighbouring frames may be separated.
    Image,
}

/// How to treat the split that a dataset's authors published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Official {
    Keep,
    Ignore,
}

#[derive(Debug, Clone, Serialize)]
pub struct SplitOptions {
    /// Share of images in validation.
    pub val: f64,
    /// Share of images in test.
    pub test: f64,
    /// This many folds instead of one validation split.
    pub folds: Option<usize>,
    pub by: By,
    /// Key of the image entries whose equal values stay together, in place of `by`.
    pub group_by: Option<String>,
    /// What to do about images that are in the file twice.
    pub copies: Copies,
    pub seed: u64,
    pub official: Official,
    /// Whether to give each split the same share of every category's objects.
    pub stratify: bool,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            val: 0.05,
            test: 0.0,
            folds: None,
            by: By::Auto,
            group_by: None,
            copies: Copies::Ignore,
            seed: 0,
            official: Official::Keep,
            stratify: false,
        }
    }
}

/// Where an image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Train,
    Val,
    Test,
    /// The validation images of this fold and the training images of the others.
    Fold(usize),
}

/// A division of a file's images.
#[derive(Debug)]
pub struct Plan {
    /// The part of each image.
    pub parts: Vec<Part>,
    /// The group of each image: those with equal numbers stay together.
    pub groups: Vec<usize>,
    pub report: SplitReport,
}

/// Divides the images of `file`, whatever their pixels.
///
/// # Errors
/// If an option is out of range, an image does not specify the unit to group by, the official
/// split divides a group, or a split would be empty.
pub fn plan(file: &CocoFile, options: &SplitOptions) -> Result<Plan> {
    plan_together(file, options, &[])
}

/// Same as [`plan`]; the images of each list of `together`, by index, are also in one group.
///
/// # Errors
/// Same errors as [`plan`].
pub fn plan_together(
    file: &CocoFile,
    options: &SplitOptions,
    together: &[Vec<usize>],
) -> Result<Plan> {
    check(options)?;
    let mut groups = groups::unite(groups::of(file, options)?, together);
    official::apply(file, &mut groups, options)?;
    let mut rng = Rng::at(options.seed, &[SPLIT]);
    let absences = match options.folds {
        Some(count) => folds::assign(file, &mut groups, count, options, &mut rng)?,
        None => divide(file, &mut groups, options, &mut rng),
    };
    ensure_filled(&groups, options)?;
    let mut parts = vec![Part::Train; file.images.len()];
    let mut group_of = vec![0; file.images.len()];
    for (number, group) in groups.iter().enumerate() {
        for &image in &group.images {
            (parts[image], group_of[image]) = (group.part(), number);
        }
    }
    let mut report = report::of(file, &groups, absences);
    if options.group_by.is_none() && matches!(options.by, By::Auto | By::Patient) {
        report.tell(keys::Told::of(file));
    }
    Ok(Plan { parts, groups: group_of, report })
}

/// Reads the COCO file at `input` and divides its images, whose pixels are compared if the options ask for it.
///
/// # Errors
/// Same errors as [`plan`]; also if the file or an image cannot be read.
pub fn plan_file(input: &Path, options: &SplitOptions) -> Result<(CocoFile, Plan)> {
    let file = CocoFile::read(input)?;
    let in_file = || Error::data(format!("cannot split {}", input.display()));
    let copies::Found { together, unreadable } =
        copies::find(&file, input, options.copies).with_context(in_file)?;
    let unites = options.copies != Copies::Report;
    let mut plan = plan_together(&file, options, if unites { &together } else { &[] })
        .with_context(in_file)?;
    plan.report.unreadable = unreadable;
    plan.report.copies = together.len();
    plan.report.parted = report::parted(&file, &plan.parts, &together);
    Ok((file, plan))
}

/// Divides the COCO file at `input` into `train.json`, `val.json` and `test.json` in `folder`
/// (beside it when `None`), or into `fold0/train.json`, `fold0/val.json` and so on.
///
/// # Errors
/// Same errors as [`plan`]; also if an output exists and `overwrite` is not set, is the input itself,
/// or cannot be written.
pub fn split_file(
    input: &Path,
    folder: Option<&Path>,
    options: &SplitOptions,
    overwrite: bool,
) -> Result<SplitReport> {
    let (file, Plan { parts, mut report, .. }) = plan_file(input, options)?;
    let folder = folder.unwrap_or_else(|| output::folder_of(input));
    let outputs = outputs(&parts, options.folds);
    let paths: Vec<PathBuf> = outputs.iter().map(|o| folder.join(&o.name)).collect();
    output::prepare(&paths, &[input], overwrite)?;
    // If interrupted, a new training set beside an old validation set would be a leak.
    output::remove(&paths)?;
    for (output, path) in outputs.iter().zip(&paths) {
        file.write_selected(path, |i| (output.takes)(parts[i]))?;
    }
    let others = ["train.json", "val.json", "test.json"].map(|name| folder.join(name));
    report.stale = others.into_iter().filter(|p| !paths.contains(p) && p.exists()).collect();
    report.files = paths;
    Ok(report)
}

/// A file to write, and the images it contains.
struct Output {
    name: PathBuf,
    takes: Box<dyn Fn(Part) -> bool>,
}

fn outputs(parts: &[Part], folds: Option<usize>) -> Vec<Output> {
    let mut outputs = Vec::new();
    let mut add = |name: String, takes: Box<dyn Fn(Part) -> bool>| {
        outputs.push(Output { name: name.into(), takes });
    };
    match folds {
        Some(folds) => {
            for fold in 0..folds {
                let trains = move |part| part != Part::Fold(fold) && part != Part::Test;
                add(format!("fold{fold}/train.json"), Box::new(trains));
                add(format!("fold{fold}/val.json"), Box::new(move |part| part == Part::Fold(fold)));
            }
        }
        None => {
            add("train.json".into(), Box::new(|part| part == Part::Train));
            if parts.contains(&Part::Val) {
                add("val.json".into(), Box::new(|part| part == Part::Val));
            }
        }
    }
    if parts.contains(&Part::Test) {
        add("test.json".into(), Box::new(|part| part == Part::Test));
    }
    outputs
}

fn check(options: &SplitOptions) -> Result<()> {
    let refuse = |message: String| Err(Error::config(message).into());
    for (name, share) in [("val", options.val), ("test", options.test)] {
        if !(0.0..1.0).contains(&share) {
            return refuse(format!("--{name} {share}: expected a share from 0 to below 1"));
        }
    }
    if options.val + options.test >= 1.0 {
        let (val, test) = (options.val, options.test);
        return refuse(format!("--val {val} and --test {test} leave nothing to train on"));
    }
    if options.folds.is_some_and(|k| k < 2) {
        return refuse(
            "--folds: expected at least 2, to validate on one and train on the others".into(),
        );
    }
    Ok(())
}

fn divide(
    file: &CocoFile,
    groups: &mut [Group],
    options: &SplitOptions,
    rng: &mut Rng,
) -> Vec<Absence> {
    let wanted = fill::Targets::of(groups, options);
    let validates = wanted.val > 0 || groups.iter().any(|g| g.part == Some(Part::Val));
    if validates {
        presence::set_aside(groups, file.categories.len(), wanted.val, rng);
    }
    if options.stratify {
        fill::stratified(file, groups, wanted, rng);
    } else {
        fill::random(groups, wanted, rng);
    }
    if validates { presence::absences(file, groups) } else { Vec::new() }
}

fn ensure_filled(groups: &[Group], options: &SplitOptions) -> Result<()> {
    let is_empty = |part: Part| groups.iter().all(|g| g.part() != part);
    let mut needed = Vec::new();
    match options.folds {
        Some(folds) => needed.extend((0..folds).map(Part::Fold)),
        None => needed.push(Part::Train),
    }
    if options.folds.is_none() && options.val > 0.0 {
        needed.push(Part::Val);
    }
    if options.test > 0.0 {
        needed.push(Part::Test);
    }
    let Some(part) = needed.into_iter().find(|&part| is_empty(part)) else { return Ok(()) };
    let official = groups.iter().filter(|g| g.official).count();
    let kept = match official {
        0 => String::new(),
        n => format!(", {n} of them placed by the official split (--official ignore)"),
    };
    let images: usize = groups.iter().map(Group::len).sum();
    let message = format!(
        "{part} would be empty: the {images} images form {} that stay together{kept}. \
         Group by something smaller (--by image), or ask for fewer splits",
        counted(groups.len(), "group")
    );
    Err(Error::data(message).into())
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Train => f.pad("train"),
            Self::Val => f.pad("val"),
            Self::Test => f.pad("test"),
            Self::Fold(fold) => f.pad(&format!("fold{fold}")),
        }
    }
}
