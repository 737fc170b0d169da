//! What a monitor knows about its group: written by the thread that talks to the store, read by the guard and
//! the main thread, which never wait for the store.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Beat, Failure};

/// What one monitor knows.
#[derive(Debug)]
pub(super) struct State {
    /// By rank; its own place is not used.
    pub(super) others: Vec<Seen>,
    pub(super) failure: Option<Failure>,
    /// A failure that is to be written into the store.
    pub(super) to_claim: Option<Failure>,
    /// When the store last answered.
    pub(super) heard: Instant,
    /// Why it will not answer again.
    pub(super) lost: Option<String>,
    /// The main thread asks who has failed: all are looked at with every beat.
    pub(super) is_asked: bool,
    /// Until when the main thread may end the process as it likes, once there is a failure.
    pub(super) deadline: Option<Instant>,
    /// The main thread has done its work.
    pub(super) is_done: bool,
    /// That has been written.
    pub(super) done_is_written: bool,
    /// The threads are to end.
    pub(super) is_closed: bool,
}

/// What was last seen of another process.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) beat: Option<Beat>,
    /// When it was new; before the first beat, when this process began to watch.
    pub(super) at: Instant,
}

impl State {
    pub(super) fn new(world_size: usize) -> Self {
        let now = Instant::now();
        Self {
            others: vec![Seen { beat: None, at: now }; world_size],
            failure: None,
            to_claim: None,
            heard: now,
            lost: None,
            is_asked: false,
            deadline: None,
            is_done: false,
            done_is_written: false,
            is_closed: false,
        }
    }

    pub(super) fn see(&mut self, rank: usize, beat: Beat) {
        if let Some(seen) = self.others.get_mut(rank)
            && seen.beat.is_none_or(|last| last.count != beat.count)
        {
            *seen = Seen { beat: Some(beat), at: Instant::now() };
        }
    }

    /// Starts the clocks anew, after a time in which this process itself has not run.
    pub(super) fn forgive(&mut self) {
        let now = Instant::now();
        self.heard = now;
        self.others.iter_mut().for_each(|seen| seen.at = now);
    }

    /// The process that has been silent for longest, if that is longer than `after`, or longer than
    /// `at_start` for one that has not joined yet.
    pub(super) fn silent(
        &self,
        own: usize,
        after: Duration,
        at_start: Duration,
    ) -> Option<Failure> {
        let late = self.others.iter().enumerate().filter_map(|(rank, seen)| {
            let age = seen.at.elapsed();
            let allowed = if seen.beat.is_some() { after } else { at_start };
            let is_done = seen.beat.is_some_and(|beat| beat.is_done);
            (rank != own && !is_done && age > allowed).then_some((age, rank, seen.beat))
        });
        let (age, rank, beat) = late.max_by_key(|&(age, ..)| age)?;
        Some(Failure::silent(rank, beat, age))
    }

    /// The process whose main thread has done nothing for longest while this one, `own`, waits at `step`.
    pub(super) fn behind(&self, own: usize, step: u64, after: Duration) -> Option<Failure> {
        let late = self.others.iter().enumerate().filter_map(|(rank, seen)| {
            let beat = seen.beat.filter(|beat| {
                !beat.is_done
                    && !beat.is_waiting
                    && beat.step <= step
                    && beat.still_seconds >= after.as_secs()
            })?;
            (rank != own).then_some((rank, beat))
        });
        let (rank, beat) =
            late.min_by_key(|(_, beat)| (beat.step, u64::MAX - beat.still_seconds))?;
        Some(Failure::behind(rank, beat, (own, step)))
    }

    pub(super) fn all_others_are_done(&self, own: usize) -> bool {
        let is_done = |(rank, seen): (usize, &Seen)| {
            rank == own || seen.beat.is_some_and(|beat| beat.is_done)
        };
        self.others.iter().enumerate().all(is_done)
    }
}

/// A state that threads share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn new(world_size: usize) -> Self {
        Self { state: Mutex::new(State::new(world_size)), changed: Condvar::new() }
    }

    /// Reads and changes it, and wakes those who wait for it.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `is_there`, at most for `limit`; returns what it then gives.
    pub(super) fn wait_for<T>(
        &self,
        limit: Duration,
        mut is_there: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if let Some(found) = is_there(&state) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::*;

    fn beat(step: u64, still_seconds: u64) -> Beat {
        let phase = Phase::Computing;
        Beat { count: 1, step, phase, still_seconds, is_waiting: false, is_done: false }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_beat_that_does_not_change_grows_old() {
        let mut state = State::new(3);
        state.see(1, beat(5, 0));
        state.others[1].at -= 10 * SECOND;
        state.see(1, beat(5, 0));
        let silent = state.silent(0, 9 * SECOND, 60 * SECOND).unwrap();
        assert_eq!(silent.rank, 1);
        assert!(silent.cause.contains("step 5, computing"), "{silent:?}");
        assert!(state.silent(1, 9 * SECOND, 60 * SECOND).is_none(), "not itself");
        state.see(1, Beat { count: 2, ..beat(6, 0) });
        assert!(state.silent(0, 9 * SECOND, 60 * SECOND).is_none());
        state.others[1].at -= 10 * SECOND;
        state.others[1].beat = Some(Beat { is_done: true, ..beat(6, 0) });
        assert!(state.silent(0, 9 * SECOND, 60 * SECOND).is_none(), "it has ended");
        state.others[2].at -= 70 * SECOND;
        let silent = state.silent(0, 9 * SECOND, 60 * SECOND).unwrap();
        assert!(silent.rank == 2 && silent.cause.contains("has not joined"), "{silent:?}");
        state.forgive();
        assert!(state.silent(0, 9 * SECOND, 60 * SECOND).is_none());
    }

    #[test]
    fn the_one_that_hangs_is_not_one_of_those_that_wait() {
        let mut state = State::new(4);
        assert!(state.behind(0, 7, SECOND).is_none());
        state.see(1, Beat { is_waiting: true, ..beat(7, 60) });
        state.see(2, beat(7, 60));
        state.see(3, beat(7, 61));
        let behind = state.behind(0, 7, 30 * SECOND).unwrap();
        assert_eq!(behind.rank, 3, "still for longest");
        assert!(behind.cause.contains("1m 01s") && behind.cause.contains("rank 0"), "{behind:?}");
        state.see(2, Beat { count: 2, ..beat(6, 40) });
        assert_eq!(state.behind(0, 7, 30 * SECOND).unwrap().rank, 2, "at an earlier step");
        assert!(state.behind(0, 7, 120 * SECOND).is_none());
    }
}
