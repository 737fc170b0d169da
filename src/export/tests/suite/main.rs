//! The crate's integration tests, one module per subject, linked once.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backbones;
mod files;
mod models;
mod refusals;
mod speed;
