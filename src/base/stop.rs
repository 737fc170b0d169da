//! Ctrl-C and SIGTERM: finish the step, save, and print how to continue.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// Ends this process at once, whatever its threads do: no destructor runs, which could wait for a thread that
/// will never answer. Files are renamed into place, so those that exist are complete.
pub fn end_now(exit_code: u8) -> ! {
    signal_hook::low_level::exit(i32::from(exit_code))
}

/// A flag that is set once the process is asked to stop.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that SIGINT and SIGTERM raise. A second signal ends the process immediately: checkpoints
    /// are renamed into place, so the last one is complete. (SIGHUP keeps its meaning, for `nohup`.)
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn from_signals() -> Result<Self> {
        const INTERRUPTED: i32 = 130;
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag unset and only raises it.
            flag::register_conditional_shutdown(signal, INTERRUPTED, stop.0.clone())
                .and_then(|_| flag::register(signal, stop.0.clone()))
                .context("cannot install signal handlers")?;
        }
        Ok(stop)
    }

    /// Requests a stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
