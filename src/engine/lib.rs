//! Sonotune's core: everything but the tasks.
//!
//! A run follows one path: [`config`] → [`data`] → [`backbone`] → [`task`] → [`weights`] →
//! [`trainer`] → [`metrics`] → [`checkpoint`] and [`logging`]; [`run`] follows it and is the
//! only file that knows every part. Task plugins depend on this crate; it names none of them.
//!
//! # Legend of shapes
//! `B` images of a batch, `C` channels, `H`, `W` height and width (always in this order), `N`
//! objects of an image or tokens of a grid, `K` categories, `L` levels of a backbone.
//! Sizes are `(height, width)` in pixels; boxes state XYXY or XYWH and their frame.

pub mod backbone;
pub mod batch;
pub mod checkpoint;
pub mod cli;
pub mod compare;
pub mod config;
pub mod data;
pub mod determinism;
pub mod device;
pub mod doctor;
pub mod embedding_cache;
pub mod loader;
pub mod logging;
pub mod metrics;
pub mod nn;
pub mod optim;
pub mod report;
pub mod run;
pub mod run_folder;
pub mod task;
pub mod trainer;
pub mod weights;

pub use anyhow::{Context, Result, bail, ensure};
pub use base::{Error, ErrorKind, error, fs, panics, pattern, seed, stop};
pub use torch_shim_sys::keep_freed_memory;

// A plugin must use the engine's tch (libtorch links once) and its serde and typetag.
pub use {anyhow, inventory, serde, serde_json, tch, typetag};

/// `(height, width)` in pixels.
pub type Size = (i64, i64);
