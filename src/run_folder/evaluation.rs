//! Scores of a model on a split.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SkippedImage;
use sonotune_dataset::Split;
use sonotune_metrics::Report;

/// A score with everything needed to interpret it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EvalRecord {
    pub checkpoint: PathBuf,
    /// Other files that pretrained weights come from: parts, and the overlay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<PathBuf>,
    /// The checkpoints of an ensemble, whose predictions were averaged; none for `checkpoint` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ensemble: Vec<PathBuf>,
    /// Optimiser steps of the checkpoint.
    pub step: u64,
    /// Whether the weights are the moving average over the run's steps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub averaged: bool,
    /// `cpu` or `cuda:0`; empty in records of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// Number format that was computed in; empty in records of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub precision: String,
    pub split: Split,
    pub dataset: PathBuf,
    pub dataset_sha256: Option<String>,
    pub num_images: usize,
    pub num_objects: usize,
    /// What the dataset's options left out or changed.
    pub dataset_notes: Vec<String>,
    /// Images that could not be used (`loader.bad_images = "skip"`): not in the report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedImage>,
    /// Names, in the order of class indices; none in records of earlier versions.
    #[serde(default)]
    pub categories: Vec<String>,
    pub report: Report,
}
