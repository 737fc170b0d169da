//! How the threads of libtorch's operators wait for each other: spinning while the machine is idle, asleep
//! beside other work, unless the user decides otherwise.
//!
//! By default OpenMP's threads wait up to milliseconds in a loop. On an idle machine that is the fastest way:
//! small models run up to twice as fast as with threads that must be woken. Beside other work a thread may lose
//! its core in the middle of an operator; the others then burn their time slices until it gets one back, at
//! each of a step's thousand operators. So a thread of its own watches how long the process waits for a
//! processor, and shortens the loops while it does.

use std::{env, ffi::OsString, fs, thread, time::Duration};

use sonotune_shim::ShortWaits;

/// Variables by which a user decides how threads wait: the standard's, GNU's and Intel's.
const DECISIVE: [&str; 3] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];

/// How often the watch looks.
const INTERVAL: Duration = Duration::from_millis(200);
/// Share of its time that the main thread waits for a processor: above, waits are shortened; below `QUIET` for
/// as many looks as `PATIENCE`, they are long again. Beside its own loader on an idle machine a run waits for
/// one to three percent, beside one other process a core for half.
const BUSY: f64 = 0.25;
const QUIET: f64 = 0.05;
const PATIENCE: u32 = 10;

/// Starts the watch, unless the environment says how threads wait. It ends with the process.
pub(super) fn watch() {
    if is_decided(|name| env::var_os(name)) || times().is_none() {
        return;
    }
    // Without it threads wait as they come, and all else works.
    let _ = thread::Builder::new().name("waits".to_owned()).spawn(|| {
        let (mut watch, mut held) = (Watch::default(), None);
        let mut before = times().unwrap_or_default();
        loop {
            thread::sleep(INTERVAL);
            let Some(now) = times() else { return };
            watch.look(now.since(before));
            before = now;
            if !watch.is_busy {
                held = None;
            } else if held.is_none() {
                held = ShortWaits::hold().ok();
            }
        }
    });
}

fn is_decided(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    DECISIVE.iter().any(|name| variable(name).is_some())
}

/// Time that the main thread has computed and has waited for a processor, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    on_processor: u64,
    waiting: u64,
}

impl Times {
    fn since(self, before: Self) -> Self {
        Self {
            on_processor: self.on_processor.saturating_sub(before.on_processor),
            waiting: self.waiting.saturating_sub(before.waiting),
        }
    }
}

/// `None` where the kernel does not tell.
fn times() -> Option<Times> {
    parse(&fs::read_to_string("/proc/self/schedstat").ok()?)
}

fn parse(schedstat: &str) -> Option<Times> {
    let mut numbers = schedstat.split_whitespace().map_while(|n| n.parse().ok());
    Some(Times { on_processor: numbers.next()?, waiting: numbers.next()? })
}

/// Whether the process has to wait for processors.
#[derive(Debug, Default)]
struct Watch {
    is_busy: bool,
    quiet: u32,
}

impl Watch {
    fn look(&mut self, times: Times) {
        let all = times.on_processor + times.waiting;
        // A thread that slept says nothing about the machine.
        if (all as f64) < 0.1 * INTERVAL.as_nanos() as f64 {
            return;
        }
        let share = times.waiting as f64 / all as f64;
        self.quiet = if share < QUIET { self.quiet + 1 } else { 0 };
        self.is_busy = share > BUSY || self.is_busy && self.quiet < PATIENCE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(watch: &mut Watch, on_processor: u64, waiting: u64) -> bool {
        let millions = |n: u64| n * 1_000_000;
        watch.look(Times { on_processor: millions(on_processor), waiting: millions(waiting) });
        watch.is_busy
    }

    #[test]
    fn what_the_user_says_stays() {
        let set = |variables: &'static [&str]| {
            is_decided(move |name| variables.contains(&name).then(OsString::new))
        };
        assert!(!set(&[]) && !set(&["OMP_NUM_THREADS"]));
        assert!(
            DECISIVE.iter().all(|name| is_decided(|asked| (asked == *name).then(OsString::new)))
        );
    }

    #[test]
    fn waits_are_short_from_the_first_contention_until_it_has_ended_for_a_while() {
        let mut watch = Watch::default();
        assert!(!looked(&mut watch, 200, 0));
        assert!(!looked(&mut watch, 170, 30), "the run's own loader begins");
        assert!(looked(&mut watch, 100, 100));
        for _ in 1..PATIENCE {
            assert!(looked(&mut watch, 200, 0));
        }
        assert!(looked(&mut watch, 180, 20), "not quiet: counted anew");
        for _ in 1..PATIENCE {
            assert!(looked(&mut watch, 200, 0));
        }
        assert!(looked(&mut watch, 2, 10), "a thread that slept says nothing");
        assert!(!looked(&mut watch, 200, 0));
    }

    #[test]
    fn the_kernel_tells_how_long_this_process_waited() {
        let Times { on_processor, waiting } = parse("123 45 6\n").unwrap();
        assert_eq!((on_processor, waiting), (123, 45));
        assert!(parse("").is_none() && parse("12 x").is_none());
    }
}
