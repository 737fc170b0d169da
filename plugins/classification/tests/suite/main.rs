//! The crate's integration tests, one module per subject, linked once.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// The tests name the task by its `type` alone.
use classification as _;

mod fp64;
mod parity_classification;
