//! Figures of every way to train, with their intervals.

use anyhow::Result;
use serde::Serialize;
use sonotune_base::{Error, words::did_you_mean};
use sonotune_metrics::Direction;
use sonotune_statistics::bootstrap::{Distribution, Options};

use super::{
    explained,
    measured::Measured,
    pool::{Arm, PROBABILITY, Pooled},
};
use crate::cells::Study;

/// Columns that improve downwards, by the end of their names.
const DISTANCES: [&str; 5] = ["hd95", "assd", "hd95_mm", "assd_mm", "error"];

/// A figure of one way to train.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    pub best_is: Direction,
    /// Mean over seeds; NaN (`null` in JSON) if it is undefined.
    pub value: f64,
    /// Limits of the interval; absent if there is none.
    pub interval: Option<[f64; 2]>,
    /// Why there is no interval.
    pub no_interval: Option<String>,
    /// One value per seed.
    pub by_seed: Vec<f64>,
    /// Sample standard deviation over seeds; absent for a single one.
    pub sd_of_seeds: Option<f64>,
}

/// How a figure is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The mean of this column over images.
    Mean(usize),
    /// Mean over categories of their F1, by the predicted categories.
    F1,
    /// Mean over categories of the area under the ROC curve, each against the rest, within folds.
    Auroc,
}

/// A figure that a task has.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) best_is: Direction,
    pub(super) kind: Kind,
}

/// All figures of all ways to train.
#[derive(Debug)]
pub(super) struct Figures {
    definitions: Vec<Definition>,
    /// `[figures][arms]`.
    values: Vec<Vec<Figure>>,
    /// Draws of the first figure, `[arms]`: the same for all.
    distributions: Vec<Distribution>,
    /// What the first figure is computed from.
    measured: Measured,
    pub(super) notes: Vec<String>,
}

/// Options of the bootstrap that a study asks for.
pub(super) fn options(study: &Study) -> Options {
    let statistics = &study.config.statistics;
    Options {
        seed: statistics.seed,
        resamples: statistics.resamples,
        level: statistics.level,
        method: statistics.interval.method(),
    }
}

impl Figures {
    pub(super) fn of(study: &Study, task: &str, pooled: &Pooled) -> Result<Self> {
        let first = &pooled.arms[0];
        let mut definitions = definitions(first)?;
        let chosen = chosen(&definitions, study.metric_of(task))?;
        let primary = definitions.remove(chosen);
        definitions.insert(0, primary);
        let options = options(study);
        let mut all = Self {
            measured: Measured::of(pooled, definitions[0].kind)?,
            definitions: Vec::new(),
            values: Vec::new(),
            distributions: Vec::new(),
            notes: Vec::new(),
        };
        for definition in definitions {
            let measured = Measured::of(pooled, definition.kind)?;
            let distributions = measured.distributions(&pooled.clusters, &options)?;
            let arms = pooled.arms.iter().enumerate().zip(&distributions);
            let figures: Vec<Figure> = arms
                .map(|((arm, _), distribution)| {
                    let by_seed = measured.by_seed(arm);
                    figure(&definition, distribution, by_seed, &options)
                })
                .collect::<Result<_>>()?;
            if let Some(note) = measured.undefined_note(&definition, pooled) {
                all.notes.push(note);
            }
            if all.values.is_empty() {
                all.distributions = distributions;
            }
            all.values.push(figures);
            all.definitions.push(definition);
        }
        Ok(all)
    }

    /// The figure that ranks.
    pub(super) fn primary(&self) -> &Definition {
        &self.definitions[0]
    }

    /// What the figure that ranks is computed from.
    pub(super) fn measured(&self) -> &Measured {
        &self.measured
    }

    /// The place of the first figure that is a mean over images: the one that ranks, if it is one.
    pub(super) fn first_mean(&self) -> Option<(&Definition, usize)> {
        self.definitions.iter().find_map(|definition| match definition.kind {
            Kind::Mean(column) => Some((definition, column)),
            _ => None,
        })
    }

    pub(super) fn of_arm(&self, arm: usize) -> Vec<Figure> {
        self.values.iter().map(|figures| figures[arm].clone()).collect()
    }

    pub(super) fn value(&self, arm: usize) -> f64 {
        self.values[0][arm].value
    }

    /// Arms, best first; what is undefined last.
    pub(super) fn order(&self) -> Vec<usize> {
        let values: Vec<f64> = (0..self.distributions.len()).map(|arm| self.value(arm)).collect();
        self.ranked(&values)
    }

    fn ranked(&self, values: &[f64]) -> Vec<usize> {
        let sign = sign(self.primary().best_is);
        let key =
            |arm: usize| if values[arm].is_nan() { f64::INFINITY } else { -sign * values[arm] };
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| key(a).total_cmp(&key(b)));
        order
    }

    /// For each arm, the share of resamples in which it is first, second and so on.
    pub(super) fn rank_shares(&self) -> Vec<Vec<f64>> {
        let arms = self.distributions.len();
        let resamples = self.distributions.first().map_or(0, |d| d.resampled.len());
        let mut counts = vec![vec![0.0; arms]; arms];
        for resample in 0..resamples {
            let values: Vec<f64> =
                self.distributions.iter().map(|d| d.resampled[resample]).collect();
            for (rank, arm) in self.ranked(&values).into_iter().enumerate() {
                counts[arm][rank] += 1.0 / resamples as f64;
            }
        }
        counts
    }
}

/// 1 if higher is better, −1 if lower is.
fn sign(best_is: Direction) -> f64 {
    match best_is {
        Direction::Highest => 1.0,
        Direction::Lowest => -1.0,
    }
}

fn definitions(arm: &Arm) -> Result<Vec<Definition>> {
    let Some(table) = arm.tables.first() else { return Ok(Vec::new()) };
    let mut definitions = Vec::new();
    if table.columns.iter().any(|column| column.starts_with(PROBABILITY)) {
        table.classified()?;
        let best_is = Direction::Highest;
        definitions.push(Definition { name: "f1".to_owned(), best_is, kind: Kind::F1 });
        definitions.push(Definition { name: "auroc".to_owned(), best_is, kind: Kind::Auroc });
    }
    for (place, column) in table.columns.iter().enumerate() {
        if column.starts_with(PROBABILITY) {
            continue;
        }
        let known = arm.record.report.get(column).and_then(|metric| metric.direction);
        let is_distance = DISTANCES.iter().any(|end| column.ends_with(end));
        let guessed = if is_distance { Direction::Lowest } else { Direction::Highest };
        // Whether a prediction is right: its mean has a name of its own.
        let name = if column == "correct" { "accuracy" } else { column };
        definitions.push(Definition {
            name: name.to_owned(),
            best_is: known.unwrap_or(guessed),
            kind: Kind::Mean(place),
        });
    }
    if definitions.is_empty() {
        return Err(Error::data(format!(
            "the task gives no scores of single images, which intervals need: {}",
            arm.name()
        ))
        .into());
    }
    Ok(definitions)
}

/// The figure that ranks: the one asked for, else the first that tells how well masks fit, else the first.
fn chosen(definitions: &[Definition], wanted: Option<&str>) -> Result<usize> {
    let Some(wanted) = wanted else {
        let dice = definitions.iter().position(|definition| definition.name.ends_with("dice"));
        return Ok(if definitions[0].kind == Kind::F1 { 0 } else { dice.unwrap_or(0) });
    };
    definitions.iter().position(|definition| definition.name == wanted).ok_or_else(|| {
        let names: Vec<&str> = definitions.iter().map(|definition| &*definition.name).collect();
        Error::config(format!(
            "`statistics.metric` = \"{wanted}\": images have no such figure{}; there are {}. Figures of a whole split, \
             such as mAP, have no interval here",
            did_you_mean(wanted, names.iter().copied()),
            names.join(", ")
        ))
        .into()
    })
}

fn figure(
    definition: &Definition,
    distribution: &Distribution,
    by_seed: Vec<f64>,
    options: &Options,
) -> Result<Figure> {
    let estimate = explained(distribution.estimate(options))?;
    let (interval, no_interval) = match estimate.interval {
        Ok(interval) => {
            let is_share = definition.best_is == Direction::Highest;
            let within = if is_share { interval.within(-1.0, 1.0) } else { interval };
            (Some([within.low, within.high]), None)
        }
        Err(why) => (None, Some(why.to_string())),
    };
    let sd_of_seeds = (by_seed.len() > 1).then(|| {
        let mean = by_seed.iter().sum::<f64>() / by_seed.len() as f64;
        let squares: f64 = by_seed.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / (by_seed.len() - 1) as f64).sqrt()
    });
    Ok(Figure {
        name: definition.name.clone(),
        best_is: definition.best_is,
        value: distribution.observed,
        interval,
        no_interval,
        by_seed,
        sd_of_seeds,
    })
}
