//! The integration tests, one module a subject, linked once.

mod backbone_support;
mod parity_backbone;
mod parity_resnet;
mod run_folder;
mod support;
mod tensorboard;
