//! What an export wrote, and what its checks found.

use std::path::PathBuf;

use serde::Serialize;

/// The record of an export.
#[derive(Debug, Clone, Serialize)]
pub struct ExportRecord {
    pub checkpoint: PathBuf,
    /// Other files that pretrained weights come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<PathBuf>,
    /// Optimiser steps of the checkpoint; 0 for pretrained weights.
    pub step: u64,
    /// Whether the weights are the moving average over the run's steps.
    pub averaged: bool,
    pub out: PathBuf,
    pub precision: String,
    /// Whether other programs ran the files before they were kept.
    pub checked: bool,
    /// The programs that ran them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checked_with: Vec<String>,
    /// Images of the check.
    pub check_images: usize,
    pub files: Vec<FileRecord>,
    /// What a smaller precision costs, compared with this program's own predictions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossRecord>,
    pub notes: Vec<String>,
}

/// One file.
#[derive(Debug, Clone, Serialize)]
pub struct FileRecord {
    /// Within the folder.
    pub name: String,
    pub about: String,
    pub bytes: u64,
    pub sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckRecord>,
}

/// The largest differences from this program's own predictions.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CheckRecord {
    /// Predictions that were compared.
    pub comparisons: usize,
    /// Between scores.
    pub max_score_difference: f64,
    /// Pixels that are in one mask only.
    pub differing_pixels: u64,
    /// The largest distance of their logits from 0.
    pub max_differing_logit: f64,
    /// Pixels of all masks.
    pub pixels: u64,
    /// Between outputs without a meaning of their own, as parts of the largest absolute value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_relative_difference: Option<f64>,
}

/// What predictions lose by a smaller precision.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LossRecord {
    pub images: usize,
    /// Where the images come from.
    pub source: String,
    /// Between masks, over images and prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_iou: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_iou: Option<f64>,
    pub mean_score_difference: f64,
    pub max_score_difference: f64,
    /// Images whose best category changed, for a classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_decisions: Option<usize>,
}

impl ExportRecord {
    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            let size = sonotune_base::words::bytes(file.bytes);
            text += &format!("  {}  {size}  {}\n", self.out.join(&file.name).display(), file.about);
            if let Some(check) = &file.check {
                text += &format!("    {}\n", check.words());
            }
        }
        match self.checked {
            true => text += &format!("checked with {}\n", self.checked_with.join(", ")),
            false => text += "NOT CHECKED: no other program has run these files (--unchecked)\n",
        }
        if let Some(loss) = &self.loss {
            text += &format!("{}: {}\n", self.precision, loss.words());
        }
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        text
    }
}

impl CheckRecord {
    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut parts = vec![format!("{} comparisons", self.comparisons)];
        if self.pixels > 0 {
            parts.push(format!(
                "{} of {} mask pixels differ (logits within {:.1e} of 0)",
                self.differing_pixels, self.pixels, self.max_differing_logit
            ));
        }
        parts.push(format!("scores within {:.1e}", self.max_score_difference));
        if let Some(difference) = self.max_relative_difference {
            parts.push(format!("tensors within {difference:.1e} of their largest value"));
        }
        parts.join(", ")
    }
}

impl LossRecord {
    /// From the differences of scores.
    pub(crate) fn set_scores(&mut self, differences: &[f64]) {
        let count = differences.len().max(1) as f64;
        self.mean_score_difference = differences.iter().sum::<f64>() / count;
        self.max_score_difference = differences.iter().copied().fold(0.0, f64::max);
    }

    /// From the overlaps of masks, if there are masks.
    pub(crate) fn set_overlaps(&mut self, overlaps: &[f64]) {
        if overlaps.is_empty() {
            return;
        }
        self.mean_iou = Some(overlaps.iter().sum::<f64>() / overlaps.len() as f64);
        self.min_iou = Some(overlaps.iter().copied().fold(1.0, f64::min));
    }

    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut parts = vec![format!("{} image(s) of {}", self.images, self.source)];
        if let (Some(mean), Some(min)) = (self.mean_iou, self.min_iou) {
            parts.push(format!("IoU with fp32 masks {mean:.4} on average, {min:.4} at least"));
        }
        parts.push(format!(
            "scores differ by {:.4} on average, {:.4} at most",
            self.mean_score_difference, self.max_score_difference
        ));
        if let Some(changed) = self.changed_decisions {
            parts.push(format!("the best category changed for {changed}"));
        }
        parts.join("; ")
    }
}
