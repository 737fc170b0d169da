//! The `[parallel]` table.

use serde::{Deserialize, Serialize};

/// `[parallel]`: how several processes work together. Nothing here changes what is computed, except for
/// `bucket_mib`, which for three processes and more changes the order in which gradients are added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParallelConfig {
    /// How long a process waits for another one before it gives up.
    pub timeout_seconds: u64,
    /// Gradients that are sent together: one part is sent while backward computes the next.
    pub bucket_mib: usize,
}

impl Default for ParallelConfig {
    /// PyTorch's timeout for NCCL, and the size of its buckets.
    fn default() -> Self {
        Self { timeout_seconds: 600, bucket_mib: 25 }
    }
}
