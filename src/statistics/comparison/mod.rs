//! Several models on the same patients: figures, differences, ranks, and what can be decided.

mod power;
mod verdict;
mod words;

pub use power::{detectable_difference, patients_needed};
pub use verdict::Verdict;

use sonotune_metrics::Direction;

use crate::{
    Clusters,
    bootstrap::{self, Distribution, Estimate, Pick},
    error::{Error, Result, same_length},
    paired::{Permutation, Permutations, Wilcoxon, holm, permute, sign_flip, wilcoxon},
    ranks::Ranks,
};

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    pub bootstrap: bootstrap::Options,
    pub permutations: Permutations,
    /// Which way the figure improves.
    pub direction: Direction,
    /// Chance of finding a difference that is there, for the number of patients needed.
    pub power: f64,
}

impl Options {
    /// The defaults for a figure that improves this way.
    #[must_use]
    pub fn new(direction: Direction) -> Self {
        Self {
            bootstrap: bootstrap::Options::default(),
            permutations: Permutations::default(),
            direction,
            power: 0.8,
        }
    }

    /// Chance of a false finding that is accepted.
    fn alpha(&self) -> f64 {
        1.0 - self.bootstrap.level
    }
}

/// Models compared on the rows for which all of them have a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Of each model.
    pub estimates: Vec<Estimate>,
    /// Every two models, `first < second`.
    pub pairs: Vec<Pair>,
    pub ranks: Ranks,
    pub verdict: Verdict,
    /// Patients compared.
    pub patients: usize,
    /// Rows compared.
    pub rows: usize,
    /// Rows left out because the figure is undefined for a model.
    pub left_out: usize,
    pub options: Options,
}

/// Two models compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub first: usize,
    pub second: usize,
    /// Figure of the first minus that of the second, over all rows.
    pub difference: Estimate,
    /// The test that decides. With a mean per row it is about the mean of patients' means.
    pub permutation: Permutation,
    /// Its p-value after Holm's correction over all pairs.
    pub adjusted_p: f64,
    /// A second opinion, for means per row.
    pub wilcoxon: Option<Wilcoxon>,
    /// Its p-value after Holm's correction.
    pub adjusted_wilcoxon_p: Option<f64>,
    /// The model that is better: the adjusted p-value is below 1 − level, and the interval of the
    /// difference excludes 0 on the same side.
    pub better: Option<usize>,
    /// The smallest true difference that this many patients would show, see [`detectable_difference`].
    pub detectable: f64,
    /// Patients that would show a true difference as large as the one observed.
    pub patients_needed: Option<u64>,
}

/// Compares models by the mean of a figure per row, such as Dice. `models` are values per row, in the
/// same order; NaN is undefined.
///
/// # Errors
/// If there are no models, no rows defined for all of them, different numbers of rows, infinite
/// values, or an option is out of range.
pub fn compare_means(
    models: &[&[f64]],
    clusters: &Clusters,
    options: &Options,
) -> Result<Comparison> {
    for values in models {
        same_length("values of a model", clusters.num_rows(), values.len())?;
    }
    let rows: Vec<usize> = (0..clusters.num_rows())
        .filter(|&row| models.iter().all(|values| !values[row].is_nan()))
        .collect();
    if models.is_empty() || rows.is_empty() {
        return Err(Error::Empty { what: "rows for which every model has a value" });
    }
    let common = clusters.of(&rows);
    let mut values: Vec<Vec<f64>> =
        models.iter().map(|values| rows.iter().map(|&row| values[row]).collect()).collect();
    let differences: Vec<Vec<f64>> = pairs_of(models.len())
        .map(|(a, b)| values[a].iter().zip(&values[b]).map(|(a, b)| a - b).collect())
        .collect();
    values.extend(differences.iter().cloned());
    let all: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let mut distributions = bootstrap::means(&all, &common, &options.bootstrap)?;
    let of_pairs = distributions.split_off(models.len());
    let tests = differences.iter().map(|differences| {
        let of_patients = common.means(differences);
        let permutation = sign_flip(&of_patients, &options.permutations)?;
        Ok((permutation, Some(wilcoxon(&of_patients)?)))
    });
    let tests = tests.collect::<Result<Vec<_>>>()?;
    let left_out = clusters.num_rows() - rows.len();
    Compared { distributions, of_pairs, tests, clusters: &common, left_out }.decide(options)
}

/// Compares models by any figure of many rows, such as AUROC. The figure gets the rows of resamples, and
/// in tests rows of which some are of one model and some of the other.
///
/// # Errors
/// If there are no models or rows, or an option is out of range.
pub fn compare_statistics(
    models: usize,
    clusters: &Clusters,
    options: &Options,
    statistic: impl Fn(&[Pick]) -> f64 + Sync,
) -> Result<Comparison> {
    if models == 0 {
        return Err(Error::Empty { what: "models" });
    }
    let distributions = bootstrap::statistics(models, clusters, &options.bootstrap, &statistic)?;
    let (mut of_pairs, mut tests) = (Vec::new(), Vec::new());
    for (first, second) in pairs_of(models) {
        of_pairs.push(distributions[first].minus(&distributions[second])?);
        let difference = |swaps: &[bool]| {
            let of = |model: usize, other: usize| {
                let mut picks = Vec::with_capacity(clusters.num_rows());
                for (rows, &swap) in clusters.rows().iter().zip(swaps) {
                    let model = if swap { other } else { model };
                    picks.extend(rows.iter().map(|&row| Pick { model, row }));
                }
                statistic(&picks)
            };
            of(first, second) - of(second, first)
        };
        tests.push((permute(clusters.len(), &options.permutations, difference)?, None));
    }
    Compared { distributions, of_pairs, tests, clusters, left_out: 0 }.decide(options)
}

/// Every two models, the smaller index first.
fn pairs_of(models: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..models).flat_map(move |first| (first + 1..models).map(move |second| (first, second)))
}

/// What is computed from the rows, before anything is decided.
struct Compared<'a> {
    distributions: Vec<Distribution>,
    of_pairs: Vec<Distribution>,
    tests: Vec<(Permutation, Option<Wilcoxon>)>,
    clusters: &'a Clusters,
    left_out: usize,
}

impl Compared<'_> {
    fn decide(self, options: &Options) -> Result<Comparison> {
        power::check(options.power)?;
        let estimate = |of: &Distribution| of.estimate(&options.bootstrap);
        let estimates =
            self.distributions.iter().map(estimate).collect::<Result<Vec<Estimate>>>()?;
        let p_values: Vec<f64> = self.tests.iter().map(|(test, _)| test.p_value).collect();
        let signed = |(_, test): &(_, Option<Wilcoxon>)| test.map_or(f64::NAN, |test| test.p_value);
        let signed: Vec<f64> = self.tests.iter().map(signed).collect();
        let (adjusted, adjusted_signed) = (holm(&p_values), holm(&signed));
        let patients = self.clusters.len();
        // Holm's first step, at which the smallest p-value is judged.
        let alpha = options.alpha() / self.tests.len().max(1) as f64;
        let mut pairs = Vec::with_capacity(self.tests.len());
        for (place, (first, second)) in pairs_of(self.distributions.len()).enumerate() {
            let difference = estimate(&self.of_pairs[place])?;
            let (permutation, wilcoxon) = self.tests[place];
            let adjusted_p = adjusted[place];
            let error = difference.standard_error;
            let mut pair = Pair {
                first,
                second,
                difference,
                permutation,
                adjusted_p,
                wilcoxon,
                adjusted_wilcoxon_p: wilcoxon.map(|_| adjusted_signed[place]),
                better: None,
                detectable: detectable_difference(error, alpha, options.power),
                patients_needed: patients_needed(patients, &difference, alpha, options.power),
            };
            pair.better = verdict::better(&pair, options);
            pairs.push(pair);
        }
        let ranks = Ranks::new(&self.distributions, options.direction)?;
        let verdict = Verdict::new(&estimates, &pairs, patients, options);
        let (rows, left_out) = (self.clusters.num_rows(), self.left_out);
        Ok(Comparison {
            estimates,
            pairs,
            ranks,
            verdict,
            patients,
            rows,
            left_out,
            options: *options,
        })
    }
}

impl Comparison {
    /// The comparison of two models, in whichever order.
    #[must_use]
    pub fn pair(&self, a: usize, b: usize) -> Option<&Pair> {
        let (first, second) = (a.min(b), a.max(b));
        self.pairs.iter().find(|pair| (pair.first, pair.second) == (first, second))
    }
}
