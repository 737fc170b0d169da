//! What several processes cost each other: every step again, with gradients added up.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sonotune_base::words::{bytes, duration};
use sonotune_engine::parallel::Ranks;

use super::{Timing, Trying};

/// Steps of several processes together, compared with the same processes each on its own.
#[derive(Debug, Clone, Serialize)]
pub struct Together {
    pub world_size: usize,
    /// Seconds of a step in which nobody waits for anybody: of the slowest process.
    pub seconds_without_exchange: f64,
    /// What waiting for each other adds to a step, beyond what backward hides.
    pub exposed_seconds: f64,
    /// Bytes of gradients that each process sends and receives for a step, and in how many parts.
    pub gradient_bytes: u64,
    pub num_buckets: usize,
    /// Peak memory of each process, by rank.
    pub peak_bytes: Vec<Option<u64>>,
}

/// What a process found on its own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Alone {
    pub(super) fits: bool,
    pub(super) seconds: Option<f64>,
}

impl<'a> Trying<'a> {
    /// Times steps of all processes together, if the batch fits everywhere.
    pub(super) fn together(
        &mut self,
        ranks: &'a Ranks,
        alone: Alone,
        time: impl FnOnce(&mut Self) -> Result<Timing>,
    ) -> Result<Option<(Timing, Together)>> {
        let all = ranks.tell(alone)?;
        if !all.iter().all(|one| one.fits) {
            return Ok(None);
        }
        let slowest = all.iter().filter_map(|one| one.seconds).fold(0.0, f64::max);
        let bucket_bytes = self.share_gradients(ranks)?;
        let timing = ranks.agree(time(self))?;
        let slowest_together = ranks.tell(timing.seconds)?.into_iter().fold(0.0, f64::max);
        let together = Together {
            world_size: ranks.world_size(),
            seconds_without_exchange: slowest,
            exposed_seconds: (slowest_together - slowest).max(0.0),
            gradient_bytes: bucket_bytes.iter().map(|&bytes| bytes as u64).sum(),
            num_buckets: bucket_bytes.len(),
            peak_bytes: Vec::new(),
        };
        Ok(Some((Timing { seconds: slowest_together, ..timing }, together)))
    }
}

impl Together {
    /// In words, one line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { world_size, seconds_without_exchange, exposed_seconds, .. } = self;
        let peaks: Vec<String> = self
            .peak_bytes
            .iter()
            .map(|peak| peak.map_or_else(|| "unknown".to_owned(), bytes))
            .collect();
        let share = exposed_seconds / (seconds_without_exchange + exposed_seconds).max(1e-9);
        vec![
            format!(
                "processes: {world_size}; a step takes {} without waiting for each other, and waiting adds \
                 {} ({:.0} %)",
                duration(*seconds_without_exchange),
                duration(*exposed_seconds),
                100.0 * share
            ),
            format!(
                "gradients: {} a step, in {} parts",
                bytes(self.gradient_bytes),
                self.num_buckets
            ),
            format!("memory of the processes: peak {}", peaks.join(", ")),
        ]
    }
}
