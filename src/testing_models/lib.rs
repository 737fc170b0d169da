//! What tests of models share: reference tensors, upstream's checkpoints, a task on a backbone, images with
//! discs, a check of gradients. A crate that depends on it links libtorch.

// Clippy treats only functions marked #[test] as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod fp64;
pub mod model;
pub mod objects;
pub mod reference;
pub mod upstream;
