//! What runs cost.

use anyhow::Result;
use serde::Serialize;
use sonotune_base::fs::read_if_exists;
use sonotune_run_folder::{RunFiles, Summary};

use crate::cells::Study;

/// Means over runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Wall time of training, with its evaluations; of the last process, for a run that was resumed.
    pub seconds: Option<f64>,
    /// Peak memory: of the GPU, or of the process on a CPU.
    pub memory_bytes: Option<u64>,
}

impl Cost {
    /// The mean over these runs.
    pub(super) fn of(study: &Study, cells: &[String]) -> Result<Self> {
        let (mut seconds, mut memory) = (Vec::new(), Vec::new());
        for cell in cells {
            let path = RunFiles::of(&study.files.run(cell)).summary();
            let text = read_if_exists(&path)?.unwrap_or_default();
            if let Ok(summary) = serde_json::from_str::<Summary>(&text) {
                seconds.push(summary.wall_seconds);
                memory.extend(summary.peak_memory_bytes);
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(Self {
            seconds: (!seconds.is_empty()).then(|| mean(&seconds)),
            memory_bytes: memory.into_iter().max(),
        })
    }
}
