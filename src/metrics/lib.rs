//! Metrics as plain functions and values: no files, no tensors, no task.

pub mod boundary;
pub mod classification;
pub mod coco;
mod frame;
pub mod overlap;
pub mod ranking;
mod report;
pub mod shape;
mod spans;
mod surface;
pub mod table;

pub use report::{Confusion, ImageScores, Metric, Report, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Highest,
    Lowest,
}
