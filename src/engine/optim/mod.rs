//! Optimisers, parameter groups, schedules, clipping.
//!
//! [`groups`] matches variable names against `[[optimizer.groups]]`; [`Optimizer`] holds the state
//! and steps; [`ScheduleConfig::factor`] gives the factor for the learning rates;
//! [`clip_grad_norm`] limits the gradient; [`Ema`] averages the weights.

mod clip;
mod config;
mod ema;
pub mod groups;
mod optimizer;
mod schedule;

pub use clip::{clip_grad_norm, grad_norm};
pub use config::{Algorithm, GroupConfig, OptimizerConfig};
pub use ema::{Ema, EmaConfig, EmaWarmup};
pub use optimizer::Optimizer;
pub use schedule::{ScheduleConfig, Warmup};
