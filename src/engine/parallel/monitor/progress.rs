//! How far the main thread of a process is: written by it at every step, read by its monitor.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::Beat;

/// What the main thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Builds the model, opens the data, joins the group.
    Starting,
    /// Computes embeddings that later steps read.
    Embedding,
    /// Waits for images.
    Loading,
    /// Computes a step, or waits for other processes within it.
    Computing,
    Evaluating,
    Predicting,
    /// Writes checkpoints or results.
    Saving,
    /// Closes its files.
    Ending,
}

const PHASES: [Phase; 8] = [
    Phase::Starting,
    Phase::Embedding,
    Phase::Loading,
    Phase::Computing,
    Phase::Evaluating,
    Phase::Predicting,
    Phase::Saving,
    Phase::Ending,
];

impl Phase {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Embedding => "computing embeddings",
            Self::Loading => "loading images",
            Self::Computing => "computing",
            Self::Evaluating => "evaluating",
            Self::Predicting => "predicting",
            Self::Saving => "saving",
            Self::Ending => "ending",
        }
    }
}

/// Atomics, so that a step pays nothing for its report.
#[derive(Debug)]
pub(super) struct Progress {
    begin: Instant,
    step: AtomicU64,
    phase: AtomicU8,
    /// Milliseconds from `begin` to the last report.
    moved: AtomicU64,
    waiting: AtomicBool,
    done: AtomicBool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            begin: Instant::now(),
            step: AtomicU64::new(0),
            phase: AtomicU8::new(Phase::Starting as u8),
            moved: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            done: AtomicBool::new(false),
        }
    }

    pub(super) fn report(&self, step: u64, phase: Phase) {
        self.step.store(step, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.moved.store(self.begin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn set_waiting(&self, is_waiting: bool) {
        self.waiting.store(is_waiting, Ordering::Relaxed);
    }

    pub(super) fn set_done(&self) {
        self.done.store(true, Ordering::Release);
    }

    pub(super) fn step(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    /// The state as a sign of life.
    pub(super) fn beat(&self, count: u64) -> Beat {
        let now = self.begin.elapsed().as_millis() as u64;
        let still = now.saturating_sub(self.moved.load(Ordering::Relaxed));
        let phase = usize::from(self.phase.load(Ordering::Relaxed));
        Beat {
            count,
            step: self.step(),
            phase: PHASES.get(phase).copied().unwrap_or(Phase::Starting),
            still_seconds: still / 1000,
            is_waiting: self.waiting.load(Ordering::Relaxed),
            is_done: self.done.load(Ordering::Acquire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_what_the_next_beat_says() {
        let progress = Progress::new();
        assert_eq!(progress.beat(0).phase, Phase::Starting);
        for phase in PHASES {
            progress.report(17, phase);
            let beat = progress.beat(3);
            assert_eq!((beat.count, beat.step, beat.phase), (3, 17, phase));
            assert!(!beat.is_done && !beat.is_waiting && beat.still_seconds < 5);
        }
        progress.set_waiting(true);
        progress.set_done();
        let beat = progress.beat(4);
        assert!(beat.is_done && beat.is_waiting);
    }
}
