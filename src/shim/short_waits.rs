//! Shortens the time that libtorch's threads spin when they wait for each other.

use std::{
    io,
    sync::mpsc::{Sender, channel},
    thread::{Builder, JoinHandle},
};

use crate::ffi;

/// While it exists, the threads of libtorch's operators spin only briefly when they wait for each other, and
/// then sleep.
///
/// libgomp reads how long threads spin when it is loaded, and has no call to change it. But it spins for a
/// hundred rounds instead of 300,000 while the process has more OpenMP threads than there are processors
/// (its manual, `GOMP_SPINCOUNT`). So this holds a team of that size that does nothing. Which threads
/// compute what, and with that every result, stays the same.
#[derive(Debug)]
pub struct ShortWaits {
    /// `None` once it ends.
    release: Option<Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

impl ShortWaits {
    /// Starts the team.
    ///
    /// # Errors
    /// When the system gives no further thread.
    pub fn hold() -> io::Result<Self> {
        let (release, released) = channel::<()>();
        let (ready, is_ready) = channel();
        let holder = Builder::new().name("short-waits".to_owned()).spawn(move || {
            // SAFETY: no arguments.
            unsafe { ffi::shim_start_idle_team() };
            let _ = ready.send(());
            // Until the sender is dropped. The team ends with this thread.
            let _ = released.recv();
        })?;
        let _ = is_ready.recv();
        Ok(Self { release: Some(release), holder: Some(holder) })
    }
}

impl Drop for ShortWaits {
    fn drop(&mut self) {
        self.release = None;
        if let Some(holder) = self.holder.take() {
            // It cannot panic.
            let _ = holder.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads() -> usize {
        std::fs::read_dir("/proc/self/task").unwrap().count()
    }

    #[test]
    fn a_team_larger_than_the_machine_lives_as_long_as_it_is_held() {
        let cores = std::thread::available_parallelism().unwrap().get();
        let held = ShortWaits::hold().unwrap();
        // Other tests start and end threads as well, but not that many.
        let during = threads();
        assert!(during > cores, "{during}");
        drop(held);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while threads() >= during && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(threads() < during);
    }
}
