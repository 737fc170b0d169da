//! Tests of classifications that take every image for independent.

use anyhow::Result;
use serde::Serialize;
use sonotune_statistics::{
    paired::{delong_paired, holm, mcnemar},
    scores::Classified,
};

use super::{
    explained,
    pool::{Arm, Pooled},
};
use crate::cells::Study;

/// McNemar's and DeLong's tests of a pair, by probabilities averaged over seeds.
#[derive(Debug, Clone, Serialize)]
pub struct SingleImageTests {
    pub first: String,
    pub second: String,
    /// Images that the first alone has right.
    pub only_first: u64,
    /// Images that the second alone has right.
    pub only_second: u64,
    /// McNemar's exact two-sided p-value.
    pub p_mcnemar: f64,
    /// The same after Holm's correction for all pairs.
    pub p_mcnemar_adjusted: f64,
    /// DeLong's tests; none with several folds, whose models' scores are not comparable.
    pub aurocs: Vec<AurocTest>,
}

/// DeLong's test of one category against the rest.
#[derive(Debug, Clone, Serialize)]
pub struct AurocTest {
    pub category: String,
    pub first: f64,
    pub second: f64,
    /// Two-sided; NaN (`null`) if it is undefined.
    pub p_value: f64,
    /// The same after Holm's correction for all pairs and categories.
    pub p_adjusted: f64,
}

/// The tests of every pair in the order of the ranking, or why there are none.
pub(super) fn tests(
    study: &Study,
    pooled: &Pooled,
    order: &[usize],
) -> Result<std::result::Result<Vec<SingleImageTests>, String>> {
    if order.len() < 2 {
        return Ok(Err("there is no pair to test".to_owned()));
    }
    if !pooled.arms.iter().all(Arm::has_probabilities) {
        return Ok(Err("they compare classifications, and this task is none".to_owned()));
    }
    let (images, patients) = (pooled.num_images(), pooled.clusters.len());
    if images != patients {
        return Ok(Err(format!(
            "they take each image for independent, but the {images} images are of {patients} patients; the \
             permutation test above counts patients"
        )));
    }
    let arms: Vec<Mean> = pooled.arms.iter().map(Mean::of).collect::<Result<_>>()?;
    let mut all = Vec::new();
    for (place, &first) in order.iter().enumerate() {
        for &second in &order[place + 1..] {
            let names = [first, second].map(|arm| pooled.arms[arm].name());
            let mut pair = pair(study, names, [&arms[first], &arms[second]])?;
            if pooled.num_folds > 1 {
                pair.aurocs.clear();
            }
            all.push(pair);
        }
    }
    adjust(&mut all);
    Ok(Ok(all))
}

fn adjust(all: &mut [SingleImageTests]) {
    let p_values: Vec<f64> = all.iter().map(|test| test.p_mcnemar).collect();
    for (test, adjusted) in all.iter_mut().zip(holm(&p_values)) {
        test.p_mcnemar_adjusted = adjusted;
    }
    let mut aurocs: Vec<&mut AurocTest> =
        all.iter_mut().flat_map(|test| &mut test.aurocs).collect();
    let adjusted = holm(&aurocs.iter().map(|test| test.p_value).collect::<Vec<f64>>());
    for (test, adjusted) in aurocs.iter_mut().zip(adjusted) {
        test.p_adjusted = adjusted;
    }
}

/// Probabilities averaged over seeds.
struct Mean {
    categories: Vec<String>,
    labels: Vec<usize>,
    probabilities: Vec<Vec<f64>>,
}

impl Mean {
    fn of(arm: &Arm) -> Result<Self> {
        let seeds: Vec<Classified> =
            arm.tables.iter().map(|table| table.classified()).collect::<Result<_>>()?;
        let (categories, labels) = (seeds[0].categories.clone(), seeds[0].labels.clone());
        let of = |row: usize, category: usize| {
            let sum: f64 = seeds.iter().map(|seed| seed.probabilities[row][category]).sum();
            sum / seeds.len() as f64
        };
        let row = |row| (0..categories.len()).map(|category| of(row, category)).collect();
        let probabilities = (0..labels.len()).map(row).collect();
        Ok(Self { categories, labels, probabilities })
    }

    fn of_category(&self, category: usize) -> Vec<f64> {
        self.probabilities.iter().map(|row| row[category]).collect()
    }

    fn is_right(&self) -> Vec<bool> {
        let top = |row: &Vec<f64>| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b]));
        let rows = self.probabilities.iter().zip(&self.labels);
        rows.map(|(row, &label)| top(row) == Some(label)).collect()
    }
}

fn pair(
    study: &Study,
    [first, second]: [String; 2],
    [a, b]: [&Mean; 2],
) -> Result<SingleImageTests> {
    let level = study.config.statistics.level;
    let accuracy = explained(mcnemar(&a.is_right(), &b.is_right()))?;
    // With two categories both tests are the same.
    let from = if a.categories.len() == 2 { 1 } else { 0 };
    let mut aurocs = Vec::new();
    for (category, name) in a.categories.iter().enumerate().skip(from) {
        let positive: Vec<bool> = a.labels.iter().map(|&label| label == category).collect();
        let [of_a, of_b] = [a, b].map(|mean| mean.of_category(category));
        let test = explained(delong_paired(&of_a, &of_b, &positive, level))?;
        aurocs.push(AurocTest {
            category: name.clone(),
            first: test.first,
            second: test.second,
            p_value: test.p_value,
            p_adjusted: f64::NAN,
        });
    }
    Ok(SingleImageTests {
        first,
        second,
        only_first: accuracy.only_first,
        only_second: accuracy.only_second,
        p_mcnemar: accuracy.exact_p,
        p_mcnemar_adjusted: f64::NAN,
        aurocs,
    })
}
