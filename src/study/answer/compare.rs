//! Who is better than whom.

use anyhow::Result;
use serde::Serialize;
use sonotune_statistics::{
    bootstrap,
    paired::{Permutations, holm, permute, sign_flip, wilcoxon},
};

use super::{
    figures::{Figures, Kind, Measured, options, over_seeds},
    pool::Pooled,
};
use crate::cells::Study;

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
    /// excludes 0.
    pub is_significant: bool,
}

/// What may be concluded.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The best by the figure.
    pub best: String,
    /// Those that it is significantly better than.
    pub better_than: Vec<String>,
    /// Those from which the data cannot tell it apart.
    pub undecided: Vec<String>,
    /// Share of the resamples in which it is first.
    pub is_first_in: f64,
    /// In a sentence.
    pub text: String,
}

/// All pairs, in the order of their ranks.
pub(super) fn comparisons(
    study: &Study,
    pooled: &Pooled,
    figures: &Figures,
    order: &[usize],
) -> Result<Vec<Comparison>> {
    let measured = Measured::of(&pooled.arms, figures.primary().kind)?;
    let mut all = Vec::new();
    for (place, &first) in order.iter().enumerate() {
        for &second in &order[place + 1..] {
            all.push(pair(study, pooled, figures, &measured, [first, second])?);
        }
    }
    let p_values: Vec<f64> = all.iter().map(|comparison| comparison.p_value).collect();
    let alpha = 1.0 - study.config.statistics.level;
    for (comparison, adjusted) in all.iter_mut().zip(holm(&p_values)) {
        comparison.p_adjusted = adjusted;
        let excludes = comparison.interval.is_some_and(|[low, high]| low > 0.0 || high < 0.0);
        comparison.is_significant = adjusted < alpha && excludes;
    }
    Ok(all)
}

fn pair(
    study: &Study,
    pooled: &Pooled,
    figures: &Figures,
    measured: &Measured,
    [first, second]: [usize; 2],
) -> Result<Comparison> {
    let (clusters, options) = (&pooled.clusters, options(study));
    let permutations =
        Permutations { seed: options.seed, count: study.config.statistics.resamples };
    let mut p_wilcoxon = None;
    let (distribution, p_value) = match (measured, figures.primary().kind) {
        (Measured::Means(values), Kind::Mean(_)) => {
            let [a, b] = [first, second].map(|arm| over_seeds(&values[arm]));
            let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
            let mut distributions = bootstrap::means(&[&differences], clusters, &options)?;
            let patients = clusters.means(&differences);
            let defined: Vec<f64> = patients.into_iter().filter(|value| !value.is_nan()).collect();
            if defined.is_empty() {
                (distributions.remove(0), f64::NAN)
            } else {
                p_wilcoxon = Some(wilcoxon(&defined)?.p_value);
                (distributions.remove(0), sign_flip(&defined, &permutations)?.p_value)
            }
        }
        _ => {
            let [a, b] = [first, second].map(|arm| &figures.distributions[arm]);
            let seeds = measured.num_seeds(first).min(measured.num_seeds(second));
            let difference = |swaps: &[bool]| {
                let images = |arms: [usize; 2]| -> Vec<(usize, usize)> {
                    let of_rows = clusters.of_rows().iter().enumerate();
                    of_rows
                        .map(|(row, &patient)| (arms[usize::from(swaps[patient])], row))
                        .collect()
                };
                measured.value(&images([first, second]), seeds)
                    - measured.value(&images([second, first]), seeds)
            };
            (a.minus(b)?, permute(clusters.len(), &permutations, difference)?.p_value)
        }
    };
    let estimate = distribution.estimate(&options)?;
    Ok(Comparison {
        first: pooled.arms[first].name(),
        second: pooled.arms[second].name(),
        difference: estimate.value,
        interval: estimate.interval.ok().map(|interval| [interval.low, interval.high]),
        p_value,
        p_adjusted: f64::NAN,
        p_wilcoxon,
        is_significant: false,
    })
}

/// What the comparisons of the best with all others say.
pub(super) fn verdict(
    study: &Study,
    pooled: &Pooled,
    figures: &Figures,
    order: &[usize],
    comparisons: &[Comparison],
) -> Verdict {
    let best = pooled.arms[order[0]].name();
    let of_best = || comparisons.iter().filter(|comparison| comparison.first == best);
    let named = |is: bool| -> Vec<String> {
        let chosen = of_best().filter(|comparison| comparison.is_significant == is);
        chosen.map(|comparison| comparison.second.clone()).collect()
    };
    let (better_than, undecided) = (named(true), named(false));
    let is_first_in = figures.rank_shares()[order[0]][0];
    let level = (study.config.statistics.level * 100.0).round();
    let metric = &figures.primary().name;
    let text = match (better_than.as_slice(), undecided.as_slice()) {
        ([], []) => format!("Only {best} was trained: there is nothing to compare it with."),
        (_, []) => format!("{best} has the best {metric}, significantly better than all others."),
        ([], others) => format!(
            "The data do not decide: {best} has the best {metric}, but no difference to {} is significant at \
             {level} %.",
            others.join(", ")
        ),
        (better, others) => format!(
            "{best} has the best {metric}, significantly better than {}; the data do not tell it apart from {}.",
            better.join(", "),
            others.join(", ")
        ),
    };
    Verdict { best, better_than, undecided, is_first_in, text }
}
