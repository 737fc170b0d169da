//! The engine: everything that is the same for all tasks, and what a plugin sees of it.
//!
//! A run follows one path: dataset → [`loader`] → [`backbone`] → [`task`] → [`trainer`] →
//! [`checkpoint`]. A task plugin depends on this crate, most often on its [`prelude`] alone; the engine
//! names none of them.
//!
//! # Legend of shapes
//! `B` images of a batch, `C` channels, `H`, `W` height and width (always in this order), `N`
//! objects of an image or tokens of a grid, `K` categories, `L` levels of a backbone.
//! Sizes are `(height, width)` in pixels; boxes state XYXY or XYWH and their frame.

pub mod backbone;
pub mod batch;
pub mod checkpoint;
pub mod determinism;
pub mod device;
pub mod embedding_cache;
mod in_file;
pub mod loader;
mod mirror;
pub mod nn;
pub mod optim;
mod out_of_memory;
pub mod parallel;
mod pixels;
pub mod prelude;
pub mod task;
pub mod trainer;
mod upload;

pub use upload::upload;

// A plugin must use the engine's tch (libtorch links once) and its serde and typetag.
pub use {anyhow, inventory, schemars, serde, serde_json, tch, typetag};

// What a richer task builds on.
pub use sonotune_metrics as metrics;
pub use sonotune_weights::keymap;
