//! What is reported about optimiser steps.

use sonotune_base::words::{bytes, share, significant};

/// Time and work of one optimiser step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepTime {
    /// The whole step, waiting for data included.
    pub step_seconds: f64,
    /// Part of these spent waiting for the loader.
    pub data_seconds: f64,
    /// Images trained on in this step.
    pub images: u64,
}

/// The figures of a training step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainRecord {
    /// Optimiser steps done, this one included.
    pub step: u64,
    /// `train/<name>`; the total first, under the name `loss`.
    pub losses: Vec<(String, f64)>,
    /// `lr/<group>`.
    pub lrs: Vec<(String, f64)>,
    /// Norm of all gradients before clipping.
    pub grad_norm: Option<f64>,
    /// `train/<name>`: what else the task reports about the batch.
    pub scalars: Vec<(String, f64)>,
}

/// Means over several steps.
pub(super) struct MeanTime {
    pub(super) step_seconds: f64,
    pub(super) data_seconds: f64,
    pub(super) images_per_second: f64,
}

impl MeanTime {
    /// `sum` over `steps`.
    pub(super) fn of(steps: u64, sum: StepTime) -> Self {
        Self {
            step_seconds: sum.step_seconds / steps as f64,
            data_seconds: sum.data_seconds / steps as f64,
            images_per_second: sum.images as f64 / sum.step_seconds.max(f64::MIN_POSITIVE),
        }
    }
}

/// The figures of a log line, the most important first: a narrow terminal cuts off the end.
pub(super) fn status(record: &TrainRecord, time: Option<&MeanTime>, memory: Option<u64>) -> String {
    let mut parts = Vec::new();
    let named = |(name, value): &(String, f64)| format!("{name} {}", significant(*value));
    parts.extend(record.losses.first().map(named));
    if let Some((_, lr)) = record.lrs.first() {
        parts.push(format!("lr {}", significant(*lr)));
    }
    if let Some(time) = time {
        parts.push(format!("{:.1} images/s", time.images_per_second));
        let waited = time.data_seconds / time.step_seconds.max(f64::MIN_POSITIVE);
        parts.push(format!("data wait {}", share(waited, 0)));
    }
    if let Some(memory) = memory {
        parts.push(format!("memory {}", bytes(memory)));
    }
    if let Some(norm) = record.grad_norm {
        parts.push(format!("grad_norm {}", significant(norm)));
    }
    // A single term says the same as the total.
    let terms = record.losses.get(1..).filter(|terms| terms.len() > 1).unwrap_or_default();
    parts.extend(terms.iter().chain(&record.scalars).map(named));
    parts.join("  ")
}
