//! Image classification on any backbone: the tokens of the coarsest level are averaged, a linear
//! head scores the categories, a focal loss trains them.
//!
//! ```toml
//! [task]
//! type = "classification"
//! ```
//!
//! The defaults are the UltraSam paper's (its Table 2). [`ClassificationConfig`] lists the options.

mod averaging;
mod config;
mod evaluator;
mod export;
mod head;
mod labels;
mod loss;
mod notes;
mod task;

pub use config::{ClassificationConfig, LossConfig};
