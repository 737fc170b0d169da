//! The crate's integration tests, one module per subject, linked once.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod saved;
mod weights;
mod weights_advice;
mod weights_folders;
mod weights_hostile;
mod weights_parts;
mod weights_wrapped;
