//! Optimisers, parameter groups, schedules, clipping.
//!
//! [`groups`] matches variable names against `[[optimizer.groups]]`; [`Optimizer`] holds the state
//! and steps; [`ScheduleConfig::factor`] says what the learning rates are multiplied with;
//! [`clip_grad_norm`] bounds the gradient.

mod clip;
mod config;
pub mod groups;
mod optimizer;
mod schedule;

pub use clip::{clip_grad_norm, grad_norm};
pub use config::{Algorithm, GroupConfig, OptimizerConfig};
pub use optimizer::Optimizer;
pub use schedule::{ScheduleConfig, Warmup};
