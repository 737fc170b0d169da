//! Who is better than whom.

use anyhow::Result;
use serde::Serialize;
use sonotune_base::words::counted;
use sonotune_metrics::Direction;
use sonotune_statistics::{
    Error,
    bootstrap::Pick,
    comparison::{self, Pair, compare_means, compare_statistics},
    paired::Permutations,
};

use super::{
    explained,
    figures::{Figures, Kind, options},
    measured::{Measured, over_seeds},
    pool::Pooled,
};
use crate::cells::Study;

/// Chance of finding a difference that is there, for detectable differences and numbers of patients.
pub(super) const POWER: f64 = 0.8;

/// Two ways to train, compared on the same images by the figure that ranks.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The better one by the figure.
    pub first: String,
    pub second: String,
    /// `first − second`.
    pub difference: f64,
    /// Limits of its interval, from the draws that the figures' intervals come from; absent if there is none.
    pub interval: Option<[f64; 2]>,
    /// Two-sided, of the permutation test over patients; NaN (`null`) if it is undefined.
    pub p_value: f64,
    /// The same after Holm's correction for all pairs of the task.
    pub p_adjusted: f64,
    /// Two-sided, of Wilcoxon's signed-rank test over patients' means; absent for figures that are no means over
    /// images.
    pub p_wilcoxon: Option<f64>,
    /// Whether the difference is significant: the adjusted p-value is below one minus the level, and the interval
    /// excludes 0 on the same side.
    pub is_significant: bool,
    /// The smallest true difference that this many patients would be likely to show (power 0.8, at the level of
    /// Holm's first step); NaN (`null`) if it is undefined.
    pub detectable: f64,
    /// Patients that would be likely to show a true difference as large as the one observed.
    pub patients_needed: Option<u64>,
}

/// What the data decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The best is significantly better than every other.
    Best,
    /// The best is significantly better than some.
    BetterThanSome,
    /// The best is not significantly better than any other.
    Undecided,
    NothingToCompare,
}

/// What may be concluded.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    pub decision: Decision,
    /// The best by the figure.
    pub best: String,
    /// Those that it is significantly better than.
    pub better_than: Vec<String>,
    /// Those from which the data cannot tell it apart.
    pub undecided: Vec<String>,
    /// Share of the resamples in which it is first.
    pub is_first_in: f64,
    /// Whether the patients are so few that no data could give a significant result.
    pub is_hopeless: bool,
    /// In sentences.
    pub text: String,
}

/// All pairs in the order of their ranks, what they decide, and what a reader must know.
pub(super) struct Compared {
    pub(super) pairs: Vec<Comparison>,
    pub(super) verdict: Verdict,
    pub(super) notes: Vec<String>,
}

pub(super) fn compare(
    study: &Study,
    pooled: &Pooled,
    figures: &Figures,
    order: &[usize],
) -> Result<Compared> {
    let (mut pairs, mut notes, mut decided) = (Vec::new(), Vec::new(), None);
    match compared(study, pooled, figures) {
        Ok(compared) => {
            pairs = in_order(&compared, pooled, order);
            if compared.left_out > 0 {
                notes.push(format!(
                    "pairs are compared on the {} of {} images that have a value of {} for every model",
                    compared.rows,
                    pooled.num_images(),
                    figures.primary().name
                ));
            }
            decided = Some(compared.verdict);
        }
        Err(Error::Empty { .. }) => notes.push(format!(
            "no image has a value of {} for every model: nothing is compared",
            figures.primary().name
        )),
        Err(error) => return explained(Err(error)),
    }
    let verdict = verdict(pooled, figures, order, decided, &pairs);
    Ok(Compared { pairs, verdict, notes })
}

fn compared(
    study: &Study,
    pooled: &Pooled,
    figures: &Figures,
) -> std::result::Result<comparison::Comparison, Error> {
    let bootstrap = options(study);
    let options = comparison::Options {
        bootstrap,
        permutations: Permutations { seed: bootstrap.seed, count: bootstrap.resamples },
        direction: figures.primary().best_is,
        power: POWER,
    };
    match (figures.measured(), figures.primary().kind) {
        (Measured::Means(values), Kind::Mean(_)) => {
            let means: Vec<Vec<f64>> = values.iter().map(|seeds| over_seeds(seeds)).collect();
            let means: Vec<&[f64]> = means.iter().map(Vec::as_slice).collect();
            compare_means(&means, &pooled.clusters, &options)
        }
        (measured, _) => {
            let arms = pooled.arms.len();
            let statistic = |picks: &[Pick]| {
                let rows: Vec<_> = picks.iter().map(|pick| (pick.model, pick.row)).collect();
                measured.value(&rows)
            };
            compare_statistics(arms, &pooled.clusters, &options, statistic)
        }
    }
}

fn in_order(
    compared: &comparison::Comparison,
    pooled: &Pooled,
    order: &[usize],
) -> Vec<Comparison> {
    let mut pairs = Vec::new();
    for (place, &better) in order.iter().enumerate() {
        for &worse in &order[place + 1..] {
            let pair = compared.pair(better, worse);
            pairs.extend(pair.map(|pair| oriented(pair, pooled, [better, worse])));
        }
    }
    pairs
}

/// The pair with the better model first.
fn oriented(pair: &Pair, pooled: &Pooled, [better, worse]: [usize; 2]) -> Comparison {
    // A significant difference decides, also if images without a value make the figures say otherwise.
    let first = pair.better.unwrap_or(better);
    let second = if first == better { worse } else { better };
    let is_same_way = first == pair.first;
    let sign = if is_same_way { 1.0 } else { -1.0 };
    let interval = pair.difference.interval.ok().map(|interval| match is_same_way {
        true => [interval.low, interval.high],
        false => [-interval.high, -interval.low],
    });
    Comparison {
        first: pooled.arms[first].name(),
        second: pooled.arms[second].name(),
        difference: sign * pair.difference.value,
        interval,
        p_value: pair.permutation.p_value,
        p_adjusted: pair.adjusted_p,
        p_wilcoxon: pair.wilcoxon.map(|test| test.p_value),
        is_significant: pair.better.is_some(),
        detectable: pair.detectable,
        patients_needed: pair.patients_needed,
    }
}

fn verdict(
    pooled: &Pooled,
    figures: &Figures,
    order: &[usize],
    decided: Option<comparison::Verdict>,
    pairs: &[Comparison],
) -> Verdict {
    use comparison::Verdict as Of;
    let name = |arm: usize| pooled.arms[arm].name();
    let names = |arms: &[usize]| -> Vec<String> { arms.iter().map(|&arm| name(arm)).collect() };
    // Only images that have a value for every model are compared: by those, another may be the best.
    let model = match &decided {
        Some(Of::Best { model } | Of::BetterThan { model, .. } | Of::Undecided { model, .. }) => {
            *model
        }
        Some(Of::NothingToCompare) | None => order[0],
    };
    let best = name(model);
    let others: Vec<usize> = order.iter().copied().filter(|&arm| arm != model).collect();
    let others = names(&others);
    let metric = &figures.primary().name;
    let patients = counted(pooled.clusters.len(), "patient");
    let mut verdict = Verdict {
        decision: Decision::NothingToCompare,
        best: best.clone(),
        better_than: Vec::new(),
        undecided: Vec::new(),
        is_first_in: figures.rank_shares()[model][0],
        is_hopeless: false,
        text: match others.is_empty() {
            true => format!("Only {best} was trained: there is nothing to compare it with."),
            false => format!("There are no two models with a value of {metric} to compare."),
        },
    };
    match decided {
        Some(Of::Best { .. }) => {
            verdict.decision = Decision::Best;
            verdict.text = format!(
                "{best} has the best {metric}, significantly better than all others ({patients})."
            );
            verdict.better_than = others;
        }
        Some(Of::BetterThan { others, undecided, .. }) => {
            verdict.decision = Decision::BetterThanSome;
            (verdict.better_than, verdict.undecided) = (names(&others), names(&undecided));
            verdict.text = format!(
                "{best} has the best {metric}, significantly better than {}. With {patients} the data do not tell it \
                 apart from {}.",
                listing(&verdict.better_than),
                listing(&verdict.undecided)
            );
        }
        Some(Of::Undecided { next, hopeless, .. }) => {
            verdict.decision = Decision::Undecided;
            verdict.is_hopeless = hopeless;
            let next = name(next);
            let of = |pair: &&Comparison| {
                let names = [&pair.first, &pair.second];
                names.contains(&&best) && names.contains(&&next)
            };
            let pair = pairs.iter().find(of);
            verdict.text = undecided(figures, &patients, [&best, &next], pair);
            if hopeless {
                verdict.text +=
                    " With this number of patients and comparisons no result could be significant.";
            }
            verdict.undecided = others;
        }
        Some(Of::NothingToCompare) | None => {}
    }
    verdict
}

fn undecided(
    figures: &Figures,
    patients: &str,
    [best, next]: [&str; 2],
    pair: Option<&Comparison>,
) -> String {
    let show = |value: f64| points(figures.primary().best_is, value.abs());
    let metric = &figures.primary().name;
    let Some(pair) = pair else {
        return format!(
            "The data are too few to decide ({patients}): {best} has the best {metric}."
        );
    };
    let ahead = show(pair.difference);
    let mut text = format!(
        "The data are too few to decide ({patients}): {best} has the best {metric}, {ahead} ahead of {next}, which is \
         not significant."
    );
    if pair.detectable.is_finite() {
        text += &format!(
            " A true difference of {} or more would be likely to show.",
            show(pair.detectable)
        );
    }
    if let Some(needed) = pair.patients_needed {
        text += &format!(" To show one of {ahead} takes about {needed} patients.");
    }
    text
}

/// A difference in words: `2.3 points` of a share, a distance as it is.
fn points(best_is: Direction, value: f64) -> String {
    match best_is {
        Direction::Highest => format!("{} points", sonotune_base::words::percent(value)),
        Direction::Lowest => sonotune_base::words::significant(value),
    }
}

fn listing(names: &[String]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
