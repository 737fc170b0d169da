//! The crate's integration tests, one module per subject, linked once.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod coco_eval_hostile;
mod configs;
mod convention;
mod live;
mod overfitting;
mod parity_coco_reference;
mod run_folder;
mod tensorboard;
mod vit_training;
mod weights_parts;
