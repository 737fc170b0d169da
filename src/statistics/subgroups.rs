//! Whether a model is worse for some: scores by device, site, sex.

use rayon::prelude::*;
use sonotune_base::seed::Rng;

use crate::{
    Clusters,
    bootstrap::{self, Estimate, Pick},
    clusters::Sum,
    error::{Error, Result, none_infinite, same_length},
    paired::{Permutation, Permutations, holm},
};

/// First coordinate of a decision: which patients a permutation puts into the group.
const GROUP: u64 = 0x4752_4f55;
/// Up to this number of choices all of them are tried.
const EXACT: u64 = 1 << 16;

/// How to compare groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    pub bootstrap: bootstrap::Options,
    pub permutations: Permutations,
    /// A group of fewer patients is reported, but not compared: its mean says little, and the reader would take a gap
    /// for a finding. The same holds for the rest.
    pub min_patients: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bootstrap: bootstrap::Options::default(),
            permutations: Permutations::default(),
            min_patients: 10,
        }
    }
}

/// Scores by group of one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Subgroups {
    /// In the order of their names.
    pub groups: Vec<Subgroup>,
    /// Rows without this field, which are in no group and not in the rest either.
    pub without_field: usize,
    /// Rows in a group whose score is undefined.
    pub undefined: usize,
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct Subgroup {
    pub name: String,
    /// Rows with a defined score.
    pub rows: usize,
    /// Patients with such a row.
    pub patients: usize,
    pub mean: Estimate,
    pub gap: std::result::Result<Gap, NotCompared>,
}

/// A group against the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// Mean of the group minus mean of the rest. Resamples are of all patients, so that patients with
    /// images in both count as what they are.
    pub difference: Estimate,
    /// Whether the group matters: patients change places between group and rest. `None` if patients
    /// have images in both, since then they cannot.
    pub permutation: Option<Permutation>,
    /// Its p-value after Holm's correction over the groups compared.
    pub adjusted_p: Option<f64>,
    /// Patients with images in group and rest.
    pub in_both: usize,
}

/// Why a group is not compared with the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCompared {
    #[error("only {patients} in the group, fewer than {min_patients}")]
    SmallGroup { patients: usize, min_patients: usize },
    #[error("only {patients} outside the group, fewer than {min_patients}")]
    SmallRest { patients: usize, min_patients: usize },
}

/// Scores by group: `values` are one per row, NaN if undefined; `groups` are what a field says about
/// each row, `None` if nothing.
///
/// # Errors
/// If the slices differ in length, no row has both group and value, a value is infinite, or an option
/// is out of range.
pub fn subgroups(
    values: &[f64],
    groups: &[Option<&str>],
    clusters: &Clusters,
    options: &Options,
) -> Result<Subgroups> {
    same_length("values", clusters.num_rows(), values.len())?;
    same_length("groups", clusters.num_rows(), groups.len())?;
    none_infinite("values", values)?;
    let rows: Vec<usize> =
        (0..values.len()).filter(|&row| groups[row].is_some() && !values[row].is_nan()).collect();
    if rows.is_empty() {
        return Err(Error::Empty { what: "rows with a group and a value" });
    }
    let clusters = clusters.of(&rows);
    let values: Vec<f64> = rows.iter().map(|&row| values[row]).collect();
    let of_rows: Vec<&str> = rows.iter().filter_map(|&row| groups[row]).collect();
    let mut names = of_rows.clone();
    names.sort_unstable();
    names.dedup();
    let one = |name: &&str| {
        let inside: Vec<bool> = of_rows.iter().map(|of_row| of_row == name).collect();
        Split { values: &values, inside, clusters: &clusters }.group(name, options)
    };
    let mut found = names.iter().map(one).collect::<Result<Vec<Subgroup>>>()?;
    adjust(&mut found);
    let without_field = groups.iter().filter(|group| group.is_none()).count();
    let undefined = groups.len() - without_field - rows.len();
    Ok(Subgroups { groups: found, without_field, undefined })
}

fn adjust(groups: &mut [Subgroup]) {
    let mut gaps: Vec<&mut Gap> =
        groups.iter_mut().filter_map(|group| group.gap.as_mut().ok()).collect();
    gaps.retain(|gap| gap.permutation.is_some());
    let p_value = |gap: &&mut Gap| gap.permutation.map_or(f64::NAN, |test| test.p_value);
    let adjusted = holm(&gaps.iter().map(p_value).collect::<Vec<f64>>());
    for (gap, p) in gaps.into_iter().zip(adjusted) {
        gap.adjusted_p = Some(p);
    }
}

/// Rows inside and outside a group.
struct Split<'a> {
    values: &'a [f64],
    inside: Vec<bool>,
    clusters: &'a Clusters,
}

impl Split<'_> {
    fn group(&self, name: &str, options: &Options) -> Result<Subgroup> {
        let own: Vec<usize> = (0..self.inside.len()).filter(|&row| self.inside[row]).collect();
        let patients = self.clusters.of(&own);
        let values: Vec<f64> = own.iter().map(|&row| self.values[row]).collect();
        let mean = bootstrap::means(&[&values], &patients, &options.bootstrap)?;
        let [mean] = &mean[..] else { return Err(Error::Empty { what: "means" }) };
        Ok(Subgroup {
            name: name.to_owned(),
            rows: own.len(),
            patients: patients.len(),
            mean: mean.estimate(&options.bootstrap)?,
            gap: match self.obstacle(options.min_patients) {
                Some(why) => Err(why),
                None => Ok(self.gap(options)?),
            },
        })
    }

    /// Whether each patient has rows inside the group, and outside.
    fn sides(&self) -> Vec<[bool; 2]> {
        let has = |rows: &[usize], side: bool| rows.iter().any(|&row| self.inside[row] == side);
        self.clusters.rows().iter().map(|rows| [has(rows, true), has(rows, false)]).collect()
    }

    fn obstacle(&self, min_patients: usize) -> Option<NotCompared> {
        let sides = self.sides();
        let count = |side: usize| sides.iter().filter(|has| has[side]).count();
        match (count(0), count(1)) {
            (patients, _) if patients < min_patients => {
                Some(NotCompared::SmallGroup { patients, min_patients })
            }
            (_, patients) if patients < min_patients.max(1) => {
                Some(NotCompared::SmallRest { patients, min_patients })
            }
            _ => None,
        }
    }

    fn gap(&self, options: &Options) -> Result<Gap> {
        let sides = self.sides();
        let in_both = sides.iter().filter(|has| has[0] && has[1]).count();
        let difference = |picks: &[Pick]| {
            let [mut own, mut rest] = [Sum::default(); 2];
            for &Pick { row, .. } in picks {
                let side = if self.inside[row] { &mut own } else { &mut rest };
                *side = side.and(&Sum { sum: self.values[row], count: 1.0 });
            }
            own.mean() - rest.mean()
        };
        let resampled = bootstrap::statistics(1, self.clusters, &options.bootstrap, difference)?;
        let [resampled] = &resampled[..] else { return Err(Error::Empty { what: "gaps" }) };
        let members: Vec<bool> = sides.iter().map(|has| has[0]).collect();
        let test = || regroup(&self.clusters.sums(self.values), &members, &options.permutations);
        Ok(Gap {
            difference: resampled.estimate(&options.bootstrap)?,
            permutation: if in_both == 0 { Some(test()?) } else { None },
            adjusted_p: None,
            in_both,
        })
    }
}

/// Tests whether it matters which patients are members, by choosing as many others. Two-sided: the
/// share of choices with a gap at least as far from 0.
fn regroup(patients: &[Sum], members: &[bool], options: &Permutations) -> Result<Permutation> {
    if options.count == 0 {
        return Err(Error::Option { key: "permutations", value: 0.0, expected: "at least 1" });
    }
    let size = members.iter().filter(|member| **member).count();
    let total = patients.iter().fold(Sum::default(), |total, sum| total.and(sum));
    let gap = |chosen: &mut dyn Iterator<Item = usize>| {
        let own = chosen.fold(Sum::default(), |own, patient| own.and(&patients[patient]));
        own.mean() - (total.sum - own.sum) / (total.count - own.count)
    };
    let observed = gap(&mut (0..members.len()).filter(|&patient| members[patient]));
    // Sums in another order differ in their last bits, and must count as equal.
    let threshold = observed.abs() * (1.0 - 1e-9);
    let is_extreme = |value: f64| usize::from(value.abs() >= threshold);
    let choices = binomial(members.len() as u64, size as u64);
    let exact = choices.is_some_and(|choices| choices <= EXACT);
    let (extreme, permutations) = if exact {
        let mut chosen: Vec<usize> = (0..size).collect();
        let (mut extreme, mut tried) = (0, 0);
        loop {
            extreme += is_extreme(gap(&mut chosen.iter().copied()));
            tried += 1;
            if !next_choice(&mut chosen, members.len()) {
                break (extreme, tried);
            }
        }
    } else {
        let of_draw = |index: usize| {
            let mut order: Vec<usize> = (0..members.len()).collect();
            Rng::at(options.seed, &[GROUP, index as u64]).shuffle(&mut order);
            is_extreme(gap(&mut order.into_iter().take(size)))
        };
        ((0..options.count).into_par_iter().map(of_draw).sum(), options.count)
    };
    let own = usize::from(!exact);
    Ok(Permutation {
        difference: observed,
        p_value: (extreme + own) as f64 / (permutations + own) as f64,
        exact,
        permutations,
        undefined: 0,
    })
}

/// Number of ways to choose `size` of `all`; `None` if that does not fit.
fn binomial(all: u64, size: u64) -> Option<u64> {
    (0..size.min(all - size)).try_fold(1_u64, |ways, i| Some(ways.checked_mul(all - i)? / (i + 1)))
}

/// The next ascending choice of indices below `all`, in the order of a dictionary.
fn next_choice(chosen: &mut [usize], all: usize) -> bool {
    let size = chosen.len();
    let Some(place) = (0..size).rev().find(|&i| chosen[i] < all - size + i) else {
        return false;
    };
    chosen[place] += 1;
    for i in place + 1..size {
        chosen[i] = chosen[i - 1] + 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_tried_once() {
        assert_eq!(binomial(5, 2), Some(10));
        assert_eq!(binomial(20, 10), Some(184_756));
        assert_eq!(binomial(1_000, 500), None);
        let mut chosen = vec![0, 1];
        let mut seen = vec![chosen.clone()];
        while next_choice(&mut chosen, 5) {
            seen.push(chosen.clone());
        }
        assert_eq!((seen.len(), seen.last()), (10, Some(&vec![3, 4])));
        assert!(!next_choice(&mut [], 3));
    }
}
