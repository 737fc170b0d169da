//! The integration tests, one module a subject, linked once.

mod run_folder;
mod support;
mod tensorboard;
