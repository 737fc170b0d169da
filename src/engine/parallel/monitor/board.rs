//! What the processes of a group write about themselves into its store.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sonotune_shim::Store;

use super::{Failure, Phase};

/// The part of a group's store that one start of the group uses: after a restart, keys of the start before are
/// still there.
#[must_use]
pub fn of_start(store: &Store, restart_count: u64) -> Store {
    store.prefixed(&format!("sonotune/{restart_count}"))
}

/// The keys that the monitors of one start of a group share.
///
/// | key | holds |
/// |---|---|
/// | `heartbeat/RANK` | [`Beat`], as JSON |
/// | `claims` | how many processes have wanted to write `failure` |
/// | `failure` | [`Failure`] of the first of them, as JSON |
#[derive(Debug, Clone)]
pub struct Board {
    store: Store,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Grows with every beat.
    pub count: u64,
    /// Optimiser steps done.
    pub step: u64,
    pub phase: Phase,
    /// Time since the main thread last reported progress.
    pub still_seconds: u64,
    /// Whether it waits for another process.
    pub is_waiting: bool,
    /// Whether the process has done its work: it is not missed from then on.
    pub is_done: bool,
}

impl Board {
    /// In `store`, the part [`of_start`].
    #[must_use]
    pub fn of(store: &Store) -> Self {
        Self { store: store.prefixed("monitor") }
    }

    /// Writes a sign of life of `rank`.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(super) fn beat(&self, rank: usize, beat: &Beat) -> Result<()> {
        Ok(self.store.set(&heartbeat(rank), &serde_json::to_vec(beat)?)?)
    }

    /// The last sign of life of `rank`; `None` before the first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn last_beat(&self, rank: usize) -> Result<Option<Beat>> {
        self.read(&heartbeat(rank))
    }

    /// Why the group ends, once that is known.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn failure(&self) -> Result<Option<Failure>> {
        self.read("failure")
    }

    /// Says why the group ends, unless that has been said before.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn claim(&self, failure: &Failure) -> Result<()> {
        /// For the first to write what it claimed; it may end in between.
        const PATIENCE: Duration = Duration::from_millis(500);
        if self.store.add("claims", 1)? > 1 {
            let begin = Instant::now();
            while begin.elapsed() < PATIENCE {
                if self.failure()?.is_some() {
                    return Ok(());
                }
                thread::sleep(PATIENCE / 10);
            }
        }
        Ok(self.store.set("failure", &serde_json::to_vec(failure)?)?)
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(bytes) = self.store.try_get(key)? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes);
        value.map(Some).with_context(|| {
            format!(
                "{key} is from another version of Sonotune: all processes must run the same one"
            )
        })
    }
}

fn heartbeat(rank: usize) -> String {
    format!("heartbeat/{rank}")
}
