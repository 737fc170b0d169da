//! The `[parallel]` table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[parallel]`: how several processes work together. Nothing here changes what is computed, except for
/// `bucket_mib`, which for three processes and more changes the order in which gradients are added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParallelConfig {
    /// How long a process waits for another one before the run ends.
    pub timeout_seconds: u64,
    /// Gradients that are sent together, MiB: one part is sent while backward computes the next. For three
    /// processes and more it changes the order in which gradients are added, and so the last bits.
    pub bucket_mib: usize,
}

impl Default for ParallelConfig {
    /// PyTorch's timeout for NCCL, and the size of its buckets.
    fn default() -> Self {
        Self { timeout_seconds: 600, bucket_mib: 25 }
    }
}
