//! Signals that a program receives and passes to the processes that it has started.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// A signal to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    Terminate,
    /// Ends a process at once, even one that is suspended.
    Kill,
}

/// Sends a signal to the process group that process `leader` has been started in as the first. One that has
/// ended is left alone.
pub fn send(leader: u32, signal: Signal) {
    use rustix::process::{Pid, Signal as Number, kill_process_group};
    let number = match signal {
        Signal::Interrupt => Number::INT,
        Signal::Terminate => Number::TERM,
        Signal::Kill => Number::KILL,
    };
    if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // It fails if no process is left.
        let _ = kill_process_group(pid, number);
    }
}

/// This process is killed as soon as the one that started it has ended, in whatever way. Without effect
/// except on Linux. False, if that one has ended already: `parent` is its number, if it is known.
#[must_use]
pub fn end_with_parent(parent: Option<u32>) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal as Number, set_parent_process_death_signal};
        // An old kernel: the process then notices by other means.
        let _ = set_parent_process_death_signal(Some(Number::KILL));
        let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        let is_parent = |number: u32| now.is_some_and(|now| i64::from(now) == i64::from(number));
        parent.is_none_or(is_parent)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = parent;
        true
    }
}

/// SIGINT and SIGTERM as they come. They no longer end this process.
#[derive(Debug)]
pub struct Received {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
}

impl Received {
    /// Starts to receive.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn start() -> Result<Self> {
        let received = Self { interrupt: Arc::default(), terminate: Arc::default() };
        let flags = [(SIGINT, &received.interrupt), (SIGTERM, &received.terminate)];
        for (signal, raised) in flags {
            flag::register(signal, raised.clone()).context("cannot install signal handlers")?;
        }
        Ok(received)
    }

    /// A signal that has come since the last call.
    #[must_use]
    pub fn take(&self) -> Option<Signal> {
        let was_raised = |flag: &AtomicBool| flag.swap(false, Ordering::AcqRel);
        if was_raised(&self.interrupt) {
            Some(Signal::Interrupt)
        } else {
            was_raised(&self.terminate).then_some(Signal::Terminate)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::{CommandExt, ExitStatusExt},
        process::Command,
    };

    use super::*;

    #[test]
    fn a_signal_reaches_the_group_of_a_process() {
        for (signal, number) in [(Signal::Interrupt, 2), (Signal::Terminate, 15), (Signal::Kill, 9)]
        {
            let mut child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
            send(child.id(), signal);
            assert_eq!(child.wait().unwrap().signal(), Some(number));
            send(child.id(), signal);
        }
    }

    #[test]
    fn signals_are_taken_once() {
        let received = Received::start().unwrap();
        assert_eq!(received.take(), None);
        for (number, signal) in [(SIGTERM, Signal::Terminate), (SIGINT, Signal::Interrupt)] {
            signal_hook::low_level::raise(number).unwrap();
            assert_eq!(received.take(), Some(signal));
            assert_eq!(received.take(), None);
        }
    }
}
