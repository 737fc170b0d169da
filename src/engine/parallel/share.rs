//! Which part of a batch a process has, and how processes tell each other about it.

use std::{fmt::Debug, ops::Range, sync::Arc};

use anyhow::Result;

/// The part of each batch that a process prepares.
#[derive(Debug, Clone)]
pub struct Share {
    pub rank: usize,
    pub world_size: usize,
    /// Processes on this machine, which share its processors.
    pub local_world_size: usize,
    /// How the processes tell each other about a batch of training; `None` for one process.
    pub exchange: Option<Arc<dyn Exchange>>,
}

impl Default for Share {
    /// One process has it all.
    fn default() -> Self {
        Self { rank: 0, world_size: 1, local_world_size: 1, exchange: None }
    }
}

impl Share {
    /// The images of a batch of `size` that rank `rank` has, as even as may be.
    #[must_use]
    pub fn of_rank(&self, rank: usize, size: usize) -> Range<usize> {
        rank * size / self.world_size..(rank + 1) * size / self.world_size
    }

    /// The images of a batch of `size` that this process has.
    #[must_use]
    pub fn own(&self, size: usize) -> Range<usize> {
        self.of_rank(self.rank, size)
    }
}

/// A way for the processes of a group to tell each other something.
pub trait Exchange: Debug + Send + Sync {
    /// What each process gives, by rank. All must call it equally often.
    ///
    /// # Errors
    /// If a process has ended, or does not answer in time.
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_as_even_as_may_be_and_leave_nothing_out() {
        for (size, world_size, expected) in [
            (8, 2, vec![0..4, 4..8]),
            (4, 3, vec![0..1, 1..2, 2..4]),
            (7, 4, vec![0..1, 1..3, 3..5, 5..7]),
            (2, 3, vec![0..0, 0..1, 1..2]),
        ] {
            let share = Share { world_size, ..Share::default() };
            let shares: Vec<_> = (0..world_size).map(|rank| share.of_rank(rank, size)).collect();
            assert_eq!(shares, expected);
        }
    }
}
