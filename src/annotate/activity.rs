//! Whether a person waits for the model.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long after the last answer the model is left to the person.
const QUIET_FOR: Duration = Duration::from_millis(1500);

/// Questions of pages, which go before those of the background.
#[derive(Debug, Default)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    last: Option<Instant>,
}

/// A question under way, until it is dropped.
pub(crate) struct Busy<'a>(&'a Activity);

impl Activity {
    pub(crate) fn begin(&self) -> Busy<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).under_way += 1;
        Busy(self)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.under_way == 0 && state.last.is_none_or(|last| last.elapsed() > QUIET_FOR)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.under_way -= 1;
        state.last = Some(Instant::now());
    }
}
