//! The crate's integration tests, one module per subject, linked once.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// Registers their `[backbone]` tables.
use sonotune_backbones as _;

mod fp64;
mod parity_litemedsam;
mod parity_sam;
mod parity_sam2;
mod parity_sam_upstream;
mod prompts_embedding;
mod sam_prompt;
