//! Ctrl-C and SIGTERM: finish the step, save, say how to go on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};

/// Set once somebody asked the process to stop.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that SIGINT, SIGTERM and SIGHUP raise. Once per process.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn from_signals() -> Result<Self> {
        let flag = Self::default();
        let raised = flag.clone();
        ctrlc::set_handler(move || raised.raise()).context("cannot listen to signals")?;
        Ok(flag)
    }

    /// Asks for a stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
