//! Tests of whether two models differ on the same patients.
//!
//! Patients are the units: values are first averaged per patient ([`crate::Clusters::means`]), so that
//! one with many images does not count as many. [`delong`] and [`mcnemar`] are tests of independent
//! rows; with several images per patient use a permutation of patients instead.

mod delong;
mod holm;
mod mcnemar;
mod permutation;
mod wilcoxon;

pub use delong::{AurocDifference, AurocEstimate, delong, delong_paired};
pub use holm::holm;
pub use mcnemar::{McNemar, mcnemar};
pub(crate) use permutation::smallest_p;
pub use permutation::{Permutation, Permutations, permute, sign_flip, swaps_of};
pub use wilcoxon::{Wilcoxon, wilcoxon};
