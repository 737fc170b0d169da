//! Metrics as plain functions and values: no files, no tensors, no task.

pub mod classification;
pub mod coco;
pub mod overlap;
pub mod ranking;
mod spans;
mod surface;
