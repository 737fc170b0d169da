//! Training, validation and test images.

use anyhow::{Context, Result};
use serde::Serialize;
use sonotune_base::{Error, words::counted};
use sonotune_coco::{
    CocoFile,
    split::{Copies, Part, SplitOptions, plan_together},
};

/// Share of the images for validation, and for test.
const SHARE: f64 = 0.15;

/// A division of the images, and what it kept together.
#[derive(Debug, Clone, Serialize)]
pub struct Division {
    #[serde(skip)]
    pub(crate) parts: Vec<Part>,
    /// Number of images of each split.
    pub train: usize,
    pub val: usize,
    pub test: usize,
    /// In a sentence, with what is a guess.
    pub how: String,
    /// Whether something in it is.
    #[serde(skip)]
    pub(crate) guess: bool,
}

/// What is known beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// Images that look alike; if the data have splits of their own, those stay as they are.
    pub(crate) together: &'a [Vec<usize>],
    /// By what patients were told.
    pub(crate) patients: Option<&'a str>,
    /// Whether a test split is there already, elsewhere.
    pub(crate) has_test: bool,
    pub(crate) compared: bool,
    pub(crate) seed: u64,
}

/// Divides `file` in 70, 15 and 15 %, unless its images name their split.
///
/// # Errors
/// Kind data: too few images, or too few that may be apart.
pub(crate) fn divide(file: &CocoFile, known: Known<'_>) -> Result<Division> {
    let given = |name: &str| {
        file.images.iter().any(|image| image.provenance.official_split.as_deref() == Some(name))
    };
    let (has_val, has_test) = (given("val"), given("test") || known.has_test);
    let is_given = has_val || given("test");
    let options = SplitOptions {
        val: if has_val { 0.0 } else { SHARE },
        // A test split is drawn only where nobody has divided anything.
        test: if has_test || has_val { 0.0 } else { SHARE },
        copies: Copies::Near,
        stratify: true,
        seed: known.seed,
        ..SplitOptions::default()
    };
    let together = if is_given { &[][..] } else { known.together };
    let plan = plan_together(file, &options, together).with_context(|| {
        Error::data(format!(
            "the {} cannot be divided into splits; annotate more, or divide them yourself into folders train, val and test",
            counted(file.images.len(), "image")
        ))
    })?;
    let count = |part| plan.parts.iter().filter(|own| **own == part).count();
    let (train, val, test) = (count(Part::Train), count(Part::Val), count(Part::Test));
    if train == 0 || val == 0 {
        return Err(Error::data(format!(
            "{} are too few to divide: training would have {train} and validation {val}; annotate more",
            counted(file.images.len(), "image")
        ))
        .into());
    }
    let mut how = match (has_val, is_given) {
        (true, _) => "the splits of the data, as they are".to_owned(),
        (false, true) => "the test split of the data; validation drawn from the rest".to_owned(),
        (false, false) => "drawn at random, 70 % training, 15 % validation, 15 % test, with like shares of each class"
            .to_owned(),
    };
    let with_patient =
        file.images.iter().filter(|image| image.provenance.patient.is_some()).count();
    let guessed = known.patients.filter(|_| with_patient > 0);
    match guessed {
        Some(by) => {
            how += &format!("; images of a patient stay together, a guess by {by}");
        }
        _ if plan.report.units.patients > 0 => how += "; images of a patient stay together",
        _ => how += "; patients are not known, so that images of one may be in several splits",
    }
    if !is_given {
        how += &match (known.compared, known.together.len()) {
            (false, _) => {
                "; images were not compared, as they are many: `sonotune data check` does"
                    .to_owned()
            }
            (true, 0) => "; no images look alike".to_owned(),
            (true, sets) => {
                format!("; {} of images that look alike stay together", counted(sets, "set"))
            }
        };
    }
    for absence in &plan.report.absences {
        how += &format!(
            "; {} lacks {} ({})",
            absence.missing_from.join(" and "),
            absence.category,
            absence.reason
        );
    }
    Ok(Division { parts: plan.parts, train, val, test, how, guess: guessed.is_some() })
}
