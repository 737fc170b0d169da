//! Data parallel: several processes train one model, each on its part of every batch.
//!
//! ```text
//! rank 0   images 0..4 ─► forward ─┐                    ┌─► backward ─► Σ gradients ─┐
//! rank 1   images 4..8 ─► forward ─┴─► Σ value·amount ──┴─► backward ─► Σ gradients ─┴─► the same update
//! ```
//!
//! A config means the same for any number of processes: which images a step sees, what is drawn for them
//! and what its losses are divided by follow from the whole batch. [`Ranks`] is a process's place in the
//! group, and how the group agrees on something; [`Gradients`] does what a training step shares. Both are
//! built on libtorch's c10d, as PyTorch's `DistributedDataParallel` is.

mod config;
mod fault;
mod gradients;
pub mod monitor;
mod ranks;
mod same;
mod share;

pub use config::ParallelConfig;
pub use fault::Fault;
pub(crate) use gradients::Combined;
pub use gradients::Gradients;
pub use monitor::Phase;
pub use ranks::Ranks;
pub use share::{Exchange, Share};
