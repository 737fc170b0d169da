//! The crate's integration tests, one module per subject, linked once.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// Its backbones are read from tables of a config.
use sonotune_backbones as _;

mod parity_hiera;
mod parity_tiny_vit;
mod parity_vit;
