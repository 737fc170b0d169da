//! How a study was made, for those who report it.

use serde::Serialize;
use sonotune_coco::split::{By, Copies};

use super::compare::POWER;
use crate::{cells::Study, config::IntervalMethod};

/// What the methods section of a paper says.
#[derive(Debug, Clone, Serialize)]
pub struct Design {
    /// Name and version of the program.
    pub software: String,
    pub seeds: Vec<u64>,
    pub models: Vec<String>,
    /// None if the study names no strategies.
    pub strategies: Vec<String>,
    /// Absent if the splits are those of the base config.
    pub folds: Option<FoldDesign>,
    /// Kind of the intervals in words, such as `percentile bootstrap`.
    pub interval: String,
    /// Chance of finding a difference, for detectable differences and numbers of patients.
    pub power: f64,
    /// Steps of every run, if the study fixes them.
    pub steps: Option<u64>,
    /// Fields that have tables of subgroups.
    pub subgroups: Vec<String>,
}

/// How the images were divided.
#[derive(Debug, Clone, Serialize)]
pub struct FoldDesign {
    pub count: usize,
    /// What stays together, such as `patient`.
    pub unit: String,
    /// What is done about copies, in words; absent if nothing.
    pub copies: Option<String>,
    pub is_stratified: bool,
}

impl Design {
    pub(super) fn of(study: &Study) -> Self {
        let config = &study.config;
        let folds = config.folds.as_ref().map(|folds| FoldDesign {
            count: folds.count,
            unit: match (&folds.group_by, folds.by) {
                (Some(key), _) => format!("images of equal {key}"),
                (None, By::Auto) => "the images of a patient (if unknown, of a clip)".to_owned(),
                (None, By::Patient) => "the images of a patient".to_owned(),
                (None, By::Clip) => "the images of a clip".to_owned(),
                (None, By::Image) => "nothing but each image itself".to_owned(),
            },
            copies: match folds.duplicates {
                Copies::Ignore | Copies::Report => None,
                Copies::Identical => Some("images with the same pixels".to_owned()),
                Copies::Near => Some("images that are copies or look alike".to_owned()),
            },
            is_stratified: folds.stratify,
        });
        let names = |variants: &[crate::config::Variant]| -> Vec<String> {
            variants.iter().map(|variant| variant.name.clone()).collect()
        };
        Self {
            software: format!("Sonotune {}", env!("CARGO_PKG_VERSION")),
            seeds: config.seeds.clone(),
            models: names(&config.models),
            strategies: names(&config.strategies),
            folds,
            interval: interval(config.statistics.interval),
            power: POWER,
            steps: config.budget.steps,
            subgroups: config.statistics.subgroups.clone(),
        }
    }
}

fn interval(method: IntervalMethod) -> String {
    match method {
        IntervalMethod::Studentized => {
            "bootstrap-t (for means) or expanded BCa bootstrap (for other figures)".to_owned()
        }
        other => format!("{} bootstrap", other.method().name()),
    }
}
