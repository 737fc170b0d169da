//! Notices when a process of the group fails, says which one and why, and sees that all of them end.
//!
//! Each process writes a sign of life into the group's store once a second, in a thread of its own, and reads
//! those of the others. A process that fails says so there; for one that cannot, the program that started it
//! does ([`Board::claim`]), or the others notice its silence. What ends when:
//!
//! | what happens to one process | the others end within |
//! |---|---|
//! | an error, or its end is reported by what started it | 10 s |
//! | it is killed, and the others wait for it | 10 s |
//! | it or its machine stops without a trace | 40 s |
//! | its main thread hangs | `parallel.timeout_seconds` + 15 s |
//! | the store is gone, with rank 0 or the program that started the processes | 10 s |
//! | the store does not answer | 40 s |

mod board;
mod failure;
mod progress;
mod state;
#[cfg(test)]
mod tests;
mod threads;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use sonotune_base::launch::StoreHost;
use sonotune_shim::Store;

pub use board::{Beat, Board, of_start};
pub use failure::Failure;
pub use progress::Phase;
use progress::Progress;
use state::Shared;
use threads::{Beats, Common, Guard};

/// How a process is watched, and watches.
pub struct Watching {
    pub rank: usize,
    pub world_size: usize,
    /// How long a collective waits for a process.
    pub timeout: Duration,
    /// Which process serves the store: it must outlive the others' use of it.
    pub store: StoreHost,
    /// Prints a failure after which the main thread has not ended. Called in the one process that speaks for
    /// the group: [`Failure::told_by`].
    pub report: Box<dyn Fn(&str) + Send>,
}

/// Watches the other processes of a group while it lives, and lets them watch this one.
#[derive(Debug)]
pub struct Monitor {
    common: Arc<Common>,
    is_finished: AtomicBool,
}

/// Times of a monitor; shorter ones are for tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Between two signs of life.
    beat: Duration,
    /// Between two looks at whether the process must end.
    look: Duration,
    /// A process that has been silent for this long has ended, as has a store.
    gone: Duration,
    /// How long an error waits for its explanation.
    known: Duration,
    /// Without a sign of life for this long, a process explains the error of another one.
    suspect: Duration,
    /// How long the main thread may take to end after a failure.
    grace: Duration,
    /// A pause between two looks that shows that this process itself did not run.
    suspended: Duration,
}

const PACE: Pace = Pace {
    beat: Duration::from_secs(1),
    look: Duration::from_millis(250),
    gone: Duration::from_secs(30),
    known: Duration::from_secs(4),
    suspect: Duration::from_millis(2500),
    grace: Duration::from_secs(5),
    suspended: Duration::from_secs(5),
};

impl Monitor {
    /// Starts to watch. `store` is the part [`of_start`] of a connection of the monitor's own: in another
    /// thread's, one that waits keeps all others waiting.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(store: &Store, watching: Watching) -> Result<Self> {
        Self::start_with(store, watching, PACE, Box::new(|code| sonotune_base::stop::end_now(code)))
    }

    fn start_with(
        store: &Store,
        watching: Watching,
        pace: Pace,
        end: Box<dyn Fn(u8) + Send>,
    ) -> Result<Self> {
        let Watching { rank, world_size, timeout, store: host, report } = watching;
        let (progress, shared) = (Progress::new(), Shared::new(world_size));
        let common =
            Arc::new(Common { rank, world_size, timeout, store: host, pace, progress, shared });
        let beats = Beats { common: common.clone(), board: Board::of(store) };
        let guard = Guard { common: common.clone(), report, end };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map(drop).context("cannot start a thread that watches the other processes")
        };
        spawn("heartbeat", Box::new(move || beats.run()))?;
        spawn("guard", Box::new(move || guard.run()))?;
        Ok(Self { common, is_finished: AtomicBool::new(false) })
    }

    /// Says how far the main thread is. Cheap enough for every step.
    pub fn progress(&self, step: u64, phase: Phase) {
        self.common.progress.report(step, phase);
    }

    /// Says whether the main thread is about to wait for other processes, or has waited.
    pub fn waits(&self, is_waiting: bool) {
        self.common.progress.set_waiting(is_waiting);
    }

    /// The reason behind `error`, which this process got from a collective: the failure of another process,
    /// of its kind, if one is known within 4 s; else which process gives no sign of life or hangs; else
    /// `error` unchanged. The others then hear the same.
    #[must_use]
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if error.downcast_ref::<Failure>().is_some() {
            return error;
        }
        let Common { rank, pace, progress, shared, timeout, store, .. } = &*self.common;
        // Others may time out a moment later, and must not take this process for one that hangs.
        progress.set_waiting(true);
        shared.with(|state| state.is_asked = true);
        let known = shared.wait_for(pace.known, |state| {
            let lost = || Some(Failure::without_store(*rank, *store, state.lost.as_ref()?));
            state.failure.clone().or_else(lost)
        });
        let suspected = || {
            let found = shared.with(|state| {
                let silent = state.silent(*rank, pace.suspect, *timeout);
                silent.or_else(|| state.behind(*rank, progress.step(), *timeout / 2))
            })?;
            Some(self.claim(found))
        };
        let found = known.or_else(suspected);
        // The main thread now says so.
        shared.with(|state| state.deadline = Some(Instant::now() + pace.grace));
        found.map_or(error, Failure::into_error)
    }

    /// Tells the others that this process ends with `error`, unless they know another reason. They end
    /// within 10 s. Returns the reason that counts.
    pub fn announce(&self, error: &anyhow::Error) -> Failure {
        let Common { rank, progress, .. } = &*self.common;
        let known = error.downcast_ref::<Failure>().cloned();
        let failure = known.unwrap_or_else(|| Failure::of_error(*rank, progress.step(), error));
        let failure = self.claim(failure);
        if self.hosts_store() {
            // The others read it before the store ends with this process.
            let beat = self.common.pace.beat;
            let _ = self.common.shared.wait_for(2 * beat, |state| state.lost.as_ref().map(drop));
        }
        failure
    }

    /// Ends the watch: this process has done its work. One that serves the store waits until the others
    /// have as well, for 10 s at most.
    pub fn finish(&self) {
        let Common { rank, pace, progress, shared, .. } = &*self.common;
        progress.set_done();
        shared.with(|state| state.is_done = true);
        let is_lost = |state: &state::State| state.lost.is_some() || state.failure.is_some();
        let written =
            |state: &state::State| (state.done_is_written || is_lost(state)).then_some(());
        let _ = shared.wait_for(pace.known, written);
        if self.hosts_store() {
            let all = |state: &state::State| {
                (state.all_others_are_done(*rank) || is_lost(state)).then_some(())
            };
            let _ = shared.wait_for(2 * pace.grace, all);
        }
        shared.with(|state| state.is_closed = true);
        self.is_finished.store(true, Ordering::Release);
    }

    fn hosts_store(&self) -> bool {
        self.common.store == StoreHost::FirstRank && self.common.rank == 0
    }

    /// Writes a failure into the store, at most for 2 s; returns the one that counts.
    fn claim(&self, failure: Failure) -> Failure {
        const LIMIT: Duration = Duration::from_secs(2);
        let shared = &self.common.shared;
        let claimed = failure.clone();
        shared.with(|state| {
            if state.failure.is_none() {
                state.to_claim.get_or_insert(claimed);
            }
        });
        let known = shared.wait_for(LIMIT, |state| {
            let lost = || state.lost.as_ref().map(|_| None);
            state.failure.clone().map(Some).or_else(lost)
        });
        known.flatten().unwrap_or(failure)
    }
}

impl Drop for Monitor {
    /// A process that ends without [`Monitor::finish`] or a failure that the others know must not keep them
    /// waiting. The threads stay: they end the process if what comes next hangs.
    fn drop(&mut self) {
        const PANICKED: u8 = 101;
        if self.is_finished.load(Ordering::Acquire)
            || self.common.shared.with(|state| state.failure.is_some())
        {
            return;
        }
        let (exit_code, cause) = match thread::panicking() {
            true => (PANICKED, "it panicked"),
            false => (1, "it has not said why"),
        };
        let beat = self.common.progress.beat(0);
        let rank = self.common.rank;
        drop(self.claim(Failure::of_end(rank, Some(beat), exit_code, cause.to_owned())));
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, world_size, timeout, .. } = self;
        write!(f, "rank {rank} of {world_size}, {timeout:?}")
    }
}
