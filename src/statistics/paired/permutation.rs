//! The paired permutation test: if two models do not differ, their names may be swapped within any
//! patient.

use rayon::prelude::*;
use sonotune_base::seed::Rng;

use crate::error::{Error, Result, all_finite};

/// First coordinate of a decision: which patients a permutation swaps.
const PERMUTE: u64 = 0x5045_524d;
/// Up to this number of swaps all of them are tried.
const EXACT: usize = 1 << 16;

/// How many permutations to draw if there are too many to try them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutations {
    pub seed: u64,
    pub count: usize,
}

impl Default for Permutations {
    fn default() -> Self {
        Self { seed: 0, count: 10_000 }
    }
}

/// Result of a permutation test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Permutation {
    /// The difference without a swap.
    pub difference: f64,
    /// Two-sided: the share of permutations whose difference is at least as far from 0. Drawn ones
    /// count as (b + 1) / (m + 1), since the data as they are count as one (Phipson and Smyth 2010). NaN if the
    /// difference is undefined.
    pub p_value: f64,
    /// Whether all permutations were tried.
    pub exact: bool,
    /// Permutations tried.
    pub permutations: usize,
    /// Permutations in which the difference is undefined; they count as being as far from 0.
    pub undefined: usize,
}

/// Which of the patients permutation `index` swaps; depends on the seed, the index and the number of
/// patients alone.
#[must_use]
pub fn swaps_of(options: &Permutations, index: usize, patients: usize) -> Vec<bool> {
    let mut rng = Rng::at(options.seed, &[PERMUTE, index as u64]);
    let mut swaps = Vec::with_capacity(patients);
    while swaps.len() < patients {
        let bits = rng.next_u64();
        swaps.extend((0..64.min(patients - swaps.len())).map(|bit| bits >> bit & 1 == 1));
    }
    swaps
}

/// Tests a difference of two models by swapping them within patients. `difference` gets which
/// patients to swap, and returns NaN if it is undefined. All 2ⁿ swaps are tried if that is at most
/// 65,536, else `options.count` are drawn.
///
/// # Errors
/// If there are no patients or no permutations.
pub fn permute(
    patients: usize,
    options: &Permutations,
    difference: impl Fn(&[bool]) -> f64 + Sync,
) -> Result<Permutation> {
    if patients == 0 {
        return Err(Error::Empty { what: "patients" });
    }
    let all = u32::try_from(patients).ok().and_then(|bits| 1_usize.checked_shl(bits));
    let exact = all.filter(|&all| all <= EXACT);
    if options.count == 0 {
        return Err(Error::Option { key: "permutations", value: 0.0, expected: "at least 1" });
    }
    let observed = difference(&vec![false; patients]);
    let permutations = exact.unwrap_or(options.count);
    // Sums in another order differ in their last bits, and must count as equal.
    let threshold = observed.abs() * (1.0 - 1e-12);
    let (extreme, undefined) = (0..permutations)
        .into_par_iter()
        .map(|index| {
            let value = match exact {
                Some(_) => {
                    let swaps: Vec<bool> =
                        (0..patients).map(|patient| index >> patient & 1 == 1).collect();
                    difference(&swaps)
                }
                None => difference(&swaps_of(options, index, patients)),
            };
            (usize::from(value.is_nan() || value.abs() >= threshold), usize::from(value.is_nan()))
        })
        .reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let p_value = match (observed.is_nan(), exact) {
        (true, _) => f64::NAN,
        (false, Some(all)) => extreme as f64 / all as f64,
        (false, None) => (extreme + 1) as f64 / (permutations + 1) as f64,
    };
    Ok(Permutation {
        difference: observed,
        p_value,
        exact: exact.is_some(),
        permutations,
        undefined,
    })
}

/// Tests whether the mean of paired differences is 0. `differences` are one per patient.
///
/// # Errors
/// Same errors as [`permute`], and if a difference is not finite.
pub fn sign_flip(differences: &[f64], options: &Permutations) -> Result<Permutation> {
    all_finite("differences", differences)?;
    permute(differences.len(), options, |swaps| {
        let signed = differences.iter().zip(swaps).map(|(d, swap)| if *swap { -d } else { *d });
        signed.sum::<f64>() / differences.len() as f64
    })
}

/// The smallest p-value that a permutation test of this many patients can give.
pub(crate) fn smallest_p(patients: usize, options: &Permutations) -> f64 {
    match u32::try_from(patients).ok().and_then(|bits| 1_usize.checked_shl(bits)) {
        Some(all) if all <= EXACT => 2.0 / all as f64,
        _ => 1.0 / (options.count + 1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_p_value_is_close_to_the_exact_one() {
        let mut rng = Rng::at(3, &[]);
        let differences: Vec<f64> = (0..16).map(|_| rng.normal() + 0.35).collect();
        let options = Permutations::default();
        let exact = sign_flip(&differences, &options).unwrap();
        assert!(exact.exact && exact.permutations == 65_536);
        // A seventeenth patient without a difference changes nothing but the number of swaps.
        let more = [&differences[..], &[0.0]].concat();
        let drawn = sign_flip(&more, &options).unwrap();
        assert!(!drawn.exact && drawn.permutations == 10_000);
        // Four standard deviations of a share of 10,000.
        let error = 4.0 * (exact.p_value * (1.0 - exact.p_value) / 1e4).sqrt();
        assert!((drawn.p_value - exact.p_value).abs() < error, "{drawn:?} {exact:?}");
        assert_eq!(drawn, sign_flip(&more, &options).unwrap());
    }

    #[test]
    fn few_patients_cannot_give_a_small_p_value() {
        let options = Permutations::default();
        let result = sign_flip(&[1.0, 2.0, 3.0], &options).unwrap();
        assert_eq!((result.p_value, result.permutations), (0.25, 8));
        assert_eq!(smallest_p(3, &options), 0.25);
        assert_eq!(smallest_p(17, &options), 1.0 / 10_001.0);
        assert_eq!(sign_flip(&[0.0; 4], &options).unwrap().p_value, 1.0);
        assert!(sign_flip(&[], &options).is_err());
        assert!(sign_flip(&[f64::NAN], &options).is_err());
        assert!(sign_flip(&[1.0], &Permutations { seed: 0, count: 0 }).is_err());
    }

    #[test]
    fn an_undefined_permutation_speaks_against_a_difference() {
        let options = Permutations::default();
        let defined_only_as_is = |swaps: &[bool]| {
            if swaps.iter().any(|swap| *swap) { f64::NAN } else { 1.0 }
        };
        let result = permute(3, &options, defined_only_as_is).unwrap();
        assert_eq!((result.p_value, result.undefined), (1.0, 7));
        assert!(permute(3, &options, |_| f64::NAN).unwrap().p_value.is_nan());
    }
}
