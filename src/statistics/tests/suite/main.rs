//! The crate's integration tests, one module per subject, linked once.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod comparison;
mod coverage;
mod parity_bootstrap;
mod parity_calibration;
mod parity_classification;
mod parity_paired;
mod reference;
mod scores;
