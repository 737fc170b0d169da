//! De-identification of files that pydicom wrote.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attributes;
mod consistent;
mod killed;
mod peer;
mod picture;
mod refused;
mod support;
