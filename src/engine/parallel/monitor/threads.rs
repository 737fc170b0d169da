//! The two threads of a monitor: one talks to the store, the other sees that the process ends.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;

use sonotune_base::launch::StoreHost;

use super::{Board, Failure, Pace, progress::Progress, state::Shared};

/// What both threads and the main thread know.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) rank: usize,
    pub(super) world_size: usize,
    pub(super) timeout: Duration,
    pub(super) store: StoreHost,
    pub(super) pace: Pace,
    pub(super) progress: Progress,
    pub(super) shared: Shared,
}

/// Writes signs of life, and reads those of the others.
#[derive(Debug)]
pub(super) struct Beats {
    pub(super) common: Arc<Common>,
    pub(super) board: Board,
}

impl Beats {
    /// Until the monitor is closed or the store is gone.
    pub(super) fn run(&self) {
        let shared = &self.common.shared;
        // Each process of a large group reads a few at every beat: the store answers one after the other.
        let stride = 1 + self.common.world_size / 16;
        for count in 1.. {
            let stride = if shared.with(|state| state.is_asked) { 1 } else { stride };
            if let Err(error) = self.once(count, stride) {
                shared.with(|state| state.lost = Some(format!("{error:#}")));
                return;
            }
            let is_due = |state: &super::state::State| {
                let is_due = state.is_closed
                    || state.to_claim.is_some()
                    || state.is_done && !state.done_is_written;
                is_due.then_some(())
            };
            let _ = shared.wait_for(self.common.pace.beat, is_due);
            if shared.with(|state| state.is_closed) {
                return;
            }
        }
    }

    fn once(&self, count: u64, stride: usize) -> Result<()> {
        let Common { rank, world_size, progress, shared, .. } = &*self.common;
        let beat = progress.beat(count);
        self.board.beat(*rank, &beat)?;
        if let Some(failure) = shared.with(|state| state.to_claim.clone()) {
            self.board.claim(&failure)?;
        }
        let failure = self.board.failure()?;
        shared.with(|state| {
            state.heard = Instant::now();
            state.done_is_written |= beat.is_done;
            if failure.is_some() {
                state.failure = failure;
                state.to_claim = None;
            }
        });
        let first = count as usize % stride;
        for other in (first..*world_size).step_by(stride).filter(|other| other != rank) {
            if let Some(beat) = self.board.last_beat(other)? {
                shared.with(|state| state.see(other, beat));
            }
        }
        Ok(())
    }
}

/// Ends the process if its main thread cannot.
pub(super) struct Guard {
    pub(super) common: Arc<Common>,
    pub(super) report: Box<dyn Fn(&str) + Send>,
    pub(super) end: Box<dyn Fn(u8) + Send>,
}

impl Guard {
    /// Until the monitor is closed or the process has been ended.
    pub(super) fn run(&self) {
        let Common { pace, shared, .. } = &*self.common;
        let mut looked = Instant::now();
        loop {
            let closed = |state: &super::state::State| state.is_closed.then_some(());
            if shared.wait_for(pace.look, closed).is_some() {
                return;
            }
            // This process itself was suspended, and perhaps the others with it.
            if looked.elapsed() > pace.suspended {
                shared.with(|state| state.forgive());
            }
            looked = Instant::now();
            if let Some(failure) = self.due() {
                if failure.told_by == self.common.rank {
                    (self.report)(&failure.text());
                }
                (self.end)(failure.exit_code);
                return;
            }
        }
    }

    /// The failure that this process must be ended for, now.
    fn due(&self) -> Option<Failure> {
        let Common { rank, pace, shared, timeout, store, .. } = &*self.common;
        shared.with(|state| {
            if state.failure.is_none() {
                let is_late = state.heard.elapsed() > pace.gone;
                let late = || is_late.then(|| "it does not answer".to_owned());
                if let Some(why) = state.lost.clone().or_else(late) {
                    // One that has done its work needs the store no longer.
                    state.failure =
                        (!state.is_done).then(|| Failure::without_store(*rank, *store, &why));
                } else if state.to_claim.is_none() && !state.is_done {
                    state.to_claim = state.silent(*rank, pace.gone, (*timeout).max(pace.gone));
                }
            }
            let failure = state.failure.clone()?;
            let deadline = *state.deadline.get_or_insert_with(|| Instant::now() + pace.grace);
            (Instant::now() >= deadline).then_some(failure)
        })
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("common", &self.common).finish_non_exhaustive()
    }
}
