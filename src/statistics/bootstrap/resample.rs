//! Drawing patients, and figures of what was drawn.

use rayon::prelude::*;
use sonotune_base::seed::Rng;

use super::{Distribution, Options, StandardErrors};
use crate::{
    Clusters,
    clusters::Sum,
    error::{Error, Result, none_infinite, same_length},
};

/// First coordinate of a decision: which patients a resample has.
const RESAMPLE: u64 = 0x5245_5341;

/// One row of one model, as a statistic gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    pub model: usize,
    pub row: usize,
}

/// The patients of resample `index`, as many as there are; they depend on the seed, the index and the
/// number of patients alone.
#[must_use]
pub fn patients_of(options: &Options, index: usize, patients: usize) -> Vec<usize> {
    let mut rng = Rng::at(options.seed, &[RESAMPLE, index as u64]);
    (0..patients).map(|_| rng.below(patients as u64) as usize).collect()
}

/// Distribution of the mean over rows, for each model. `models` are values per row; NaN is left out.
///
/// # Errors
/// If there are no rows, a model has a different number of them, a value is infinite, or an option is
/// out of range.
pub fn means(
    models: &[&[f64]],
    clusters: &Clusters,
    options: &Options,
) -> Result<Vec<Distribution>> {
    check(clusters, options)?;
    for values in models {
        same_length("values of a model", clusters.num_rows(), values.len())?;
        none_infinite("values of a model", values)?;
    }
    let sums: Vec<Vec<Sum>> = models.iter().map(|values| clusters.sums(values)).collect();
    let of_resample = |index: usize| -> Vec<[f64; 2]> {
        let drawn = patients_of(options, index, clusters.len());
        sums.iter().map(|sums| mean_and_error(drawn.iter().map(|&i| sums[i]))).collect()
    };
    let resampled: Vec<Vec<[f64; 2]>> =
        (0..options.resamples).into_par_iter().map(of_resample).collect();
    let distribution = |(model, sums): (usize, &Vec<Sum>)| {
        let [observed, error] = mean_and_error(sums.iter().copied());
        let column = |of: usize| resampled.iter().map(|values| values[model][of]).collect();
        Distribution {
            observed,
            resampled: column(0),
            jackknife: without_each(sums),
            standard_errors: Some(StandardErrors { observed: error, resampled: column(1) }),
        }
    };
    Ok(sums.iter().enumerate().map(distribution).collect())
}

/// The mean over all rows of some patients, and its standard error: √(n / (n − 1) · Σ (sᵢ − mean · cᵢ)²) / Σ cᵢ
/// over sums sᵢ and counts cᵢ of n patients.
fn mean_and_error(patients: impl ExactSizeIterator<Item = Sum> + Clone) -> [f64; 2] {
    let n = patients.len() as f64;
    let total = patients.clone().fold(Sum::default(), |total, sum| total.and(&sum));
    let mean = total.mean();
    let squares: f64 = patients.map(|one| (one.sum - mean * one.count).powi(2)).sum();
    [mean, (n / (n - 1.0) * squares).sqrt() / total.count]
}

/// The mean without each patient, added up afresh: subtracting from the total would lose digits.
fn without_each(sums: &[Sum]) -> Vec<f64> {
    let mut after = vec![Sum::default(); sums.len() + 1];
    for (place, sum) in sums.iter().enumerate().rev() {
        after[place] = sum.and(&after[place + 1]);
    }
    let mut before = Sum::default();
    let mut without = Vec::with_capacity(sums.len());
    for (place, sum) in sums.iter().enumerate() {
        without.push(before.and(&after[place + 1]).mean());
        before = before.and(sum);
    }
    without
}

/// Distribution of any statistic, for each of `models` models. The statistic gets rows, each as often as
/// its patient was drawn, and returns NaN if it is undefined for them.
///
/// # Errors
/// If there are no rows, or an option is out of range.
pub fn statistics(
    models: usize,
    clusters: &Clusters,
    options: &Options,
    statistic: impl Fn(&[Pick]) -> f64 + Sync,
) -> Result<Vec<Distribution>> {
    check(clusters, options)?;
    let of_patients = |patients: &[usize], model: usize| {
        let rows = patients.iter().flat_map(|&patient| &clusters.rows()[patient]);
        let picks: Vec<Pick> = rows.map(|&row| Pick { model, row }).collect();
        statistic(&picks)
    };
    let of_all = |patients: &[usize]| -> Vec<f64> {
        (0..models).map(|model| of_patients(patients, model)).collect()
    };
    let everyone: Vec<usize> = (0..clusters.len()).collect();
    let observed = of_all(&everyone);
    let resampled: Vec<Vec<f64>> = (0..options.resamples)
        .into_par_iter()
        .map(|index| of_all(&patients_of(options, index, clusters.len())))
        .collect();
    let jackknife: Vec<Vec<f64>> = (0..clusters.len())
        .into_par_iter()
        .map(|left_out| {
            let others: Vec<usize> =
                everyone.iter().copied().filter(|&patient| patient != left_out).collect();
            of_all(&others)
        })
        .collect();
    let of_model = |values: &[Vec<f64>], model: usize| values.iter().map(|v| v[model]).collect();
    let distribution = |model: usize| Distribution {
        observed: observed[model],
        resampled: of_model(&resampled, model),
        jackknife: of_model(&jackknife, model),
        standard_errors: None,
    };
    Ok((0..models).map(distribution).collect())
}

fn check(clusters: &Clusters, options: &Options) -> Result<()> {
    options.check()?;
    if clusters.is_empty() { Err(Error::Empty { what: "rows" }) } else { Ok(()) }
}
