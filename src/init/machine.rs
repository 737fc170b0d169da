//! What there is to compute with.

use serde::Serialize;

/// The machine that the config is for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Machine {
    pub cores: usize,
    /// Main memory that is free for a run, bytes.
    pub memory_bytes: u64,
    /// Memory of the GPU, bytes, if there is a usable one.
    pub gpu_memory_bytes: Option<u64>,
}

const GIB: f64 = (1u64 << 30) as f64;

impl Machine {
    /// Multiply-adds per second of a small network in training, in billions. CPU: 15 for each core, measured with
    /// ResNet-18 on two cores of an AMD EPYC. GPU: a cautious guess, a hundredth of what large ones reach.
    pub(crate) fn gmac_per_second(&self) -> f64 {
        match self.gpu_memory_bytes {
            Some(_) => 2000.0,
            None => 15.0 * self.cores.max(1) as f64,
        }
    }

    pub(crate) fn has_gpu(&self) -> bool {
        self.gpu_memory_bytes.is_some()
    }

    /// Memory for training, GiB.
    pub(crate) fn gib(&self) -> f64 {
        self.gpu_memory_bytes.unwrap_or(self.memory_bytes) as f64 / GIB
    }

    /// `2 cores, 12.0 GiB of memory, no GPU`.
    #[must_use]
    pub fn words(&self) -> String {
        let cores = sonotune_base::words::counted(self.cores, "core");
        let memory = sonotune_base::words::bytes(self.memory_bytes);
        match self.gpu_memory_bytes {
            Some(gpu) => {
                format!(
                    "{cores}, {memory} of memory free, a GPU of {}",
                    sonotune_base::words::bytes(gpu)
                )
            }
            None => format!("{cores}, {memory} of memory free, no GPU"),
        }
    }
}
