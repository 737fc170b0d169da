//! Several monitors in one process, each with its own connection to a real store.

use std::sync::mpsc::{self, Receiver};

use super::*;
use anyhow::anyhow;
use sonotune_base::{Error, error::exit_code};

/// Times at which a test takes a second.
const FAST: Pace = Pace {
    beat: Duration::from_millis(50),
    look: Duration::from_millis(20),
    gone: Duration::from_millis(1500),
    known: Duration::from_millis(600),
    suspect: Duration::from_millis(400),
    grace: Duration::from_millis(300),
    suspended: Duration::from_millis(1000),
};
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longer than any test may take, on a machine that does much else.
const LONG: Duration = Duration::from_secs(30);

/// The store of a group, and the board that a test writes to in place of a process.
struct Host {
    store: Store,
    board: Board,
}

/// A process with its monitor.
struct Process {
    monitor: Monitor,
    reports: Receiver<String>,
    /// Exit codes with which it was to be ended.
    ends: Receiver<u8>,
}

impl Host {
    fn new() -> Self {
        let store = Store::tcp("127.0.0.1", 0, true, TIMEOUT).unwrap();
        let board = Board::of(&of_start(&store, 0));
        Self { store, board }
    }

    fn process(&self, rank: usize, world_size: usize) -> Process {
        self.process_with(rank, world_size, StoreHost::Agent)
    }

    fn process_with(&self, rank: usize, world_size: usize, host: StoreHost) -> Process {
        let store = Store::tcp("127.0.0.1", self.store.port(), false, TIMEOUT).unwrap();
        let (report, reports) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let watching = Watching {
            rank,
            world_size,
            timeout: TIMEOUT,
            store: host,
            report: Box::new(move |text| report.send(text.to_owned()).unwrap_or_default()),
        };
        let end = Box::new(move |code| end.send(code).unwrap_or_default());
        let monitor = Monitor::start_with(&of_start(&store, 0), watching, FAST, end).unwrap();
        Process { monitor, reports, ends }
    }

    /// A sign of life of a process without a monitor.
    fn beat(&self, rank: usize, beat: Beat) {
        self.board.beat(rank, &beat).unwrap();
    }
}

impl Process {
    fn explained(&self) -> (String, u8) {
        let error = self.monitor.explain(anyhow!("connection closed by peer"));
        (format!("{error:#}"), exit_code(&error))
    }
}

fn beat(count: u64, step: u64) -> Beat {
    let phase = Phase::Loading;
    Beat { count, step, phase, still_seconds: 0, is_waiting: false, is_done: false }
}

#[test]
fn an_error_of_one_process_is_that_of_all() {
    let host = Host::new();
    let [first, second, third] = [0, 1, 2].map(|rank| host.process(rank, 3));
    second.monitor.progress(17, Phase::Computing);
    let _ = second
        .monitor
        .announce(&anyhow::Error::from(Error::data("no such file")).context("image 3"));
    let _ = third.monitor.announce(&anyhow!("too late to be the reason"));
    let told = "rank 1 stopped at step 17: image 3: no such file";
    assert_eq!(first.explained(), (told.to_owned(), 3));
    assert_eq!(third.explained(), (told.to_owned(), 3));
    // What was explained stays as it is.
    let again = first.monitor.explain(first.monitor.explain(anyhow!("x")));
    assert_eq!(format!("{again:#}"), told);
    assert_eq!(first.reports.try_recv().ok(), None, "the main thread has its time to say so");
    for process in [&first, &second, &third] {
        assert_eq!(process.ends.recv_timeout(LONG), Ok(3), "the main thread did nothing");
    }
    assert_eq!(first.reports.try_recv().unwrap(), told);
    assert!(second.reports.try_recv().is_err() && third.reports.try_recv().is_err(), "once");
}

#[test]
fn an_error_that_nobody_caused_is_left_alone() {
    let host = Host::new();
    let processes = [0, 1].map(|rank| host.process(rank, 2));
    processes[1].monitor.progress(3, Phase::Loading);
    // Both are seen before the first asks.
    thread::sleep(4 * FAST.beat);
    assert_eq!(processes[0].explained(), ("connection closed by peer".to_owned(), 1));
    processes.iter().for_each(|process| process.monitor.finish());
}

#[test]
fn a_process_that_falls_silent_is_named_when_it_is_missed() {
    let host = Host::new();
    let first = host.process(0, 3);
    let third = host.process(2, 3);
    host.beat(1, beat(1, 7));
    thread::sleep(4 * FAST.beat);
    let (text, code) = first.explained();
    assert!(text.starts_with("rank 1 has not been heard of for "), "{text}");
    assert!(text.contains("last at step 7, loading images") && code == 1, "{text}");
    // The others hear it from the first.
    assert_eq!(third.ends.recv_timeout(LONG), Ok(1));
    assert!(third.reports.try_recv().is_err(), "rank 0 says so");
}

#[test]
fn a_process_that_falls_silent_ends_the_others_though_nobody_asks() {
    let host = Host::new();
    let first = host.process(0, 2);
    host.beat(1, beat(1, 7));
    let begin = Instant::now();
    assert_eq!(first.ends.recv_timeout(LONG), Ok(1));
    assert!(begin.elapsed() >= FAST.gone, "too early");
    assert!(first.reports.recv().unwrap().starts_with("rank 1 has not been heard of"));
}

#[test]
fn a_process_that_lives_but_hangs_is_named() {
    let host = Host::new();
    let first = host.process(0, 3);
    first.monitor.progress(8, Phase::Computing);
    let (stop, stopped) = mpsc::channel::<()>();
    let board = host.board.clone();
    let hanging = thread::spawn(move || {
        for count in 1.. {
            if stopped.recv_timeout(FAST.beat).is_ok() {
                return;
            }
            let still = Beat { still_seconds: 21, ..beat(count, 8) };
            board.beat(1, &still).unwrap();
            board.beat(2, &Beat { is_waiting: true, step: 7, ..still }).unwrap();
        }
    });
    thread::sleep(4 * FAST.beat);
    let (text, _) = first.explained();
    stop.send(()).unwrap();
    hanging.join().unwrap();
    assert!(text.starts_with("rank 1 hangs: for 21s it has been at step 8, loading"), "{text}");
    assert!(text.contains("rank 0 waited for it at step 8"), "{text}");
    assert!(text.contains("parallel.timeout_seconds"), "{text}");
    assert_eq!(host.board.failure().unwrap().unwrap().rank, 1, "and it is told so");
}

#[test]
fn without_the_store_a_process_ends() {
    for (served_by, words) in [
        (StoreHost::Agent, "the program that started the processes has ended"),
        (StoreHost::FirstRank, "rank 0, which serves the store of the group, has ended"),
    ] {
        let host = Host::new();
        // Rank 1 speaks for a group without rank 0.
        let second = host.process_with(1, 2, served_by);
        thread::sleep(4 * FAST.beat);
        drop(host);
        let (text, code) = second.explained();
        assert!(text.starts_with(words) && code == 1, "{text}");
        assert_eq!(second.ends.recv_timeout(LONG), Ok(1));
    }
}

#[test]
fn work_that_is_done_ends_the_watch() {
    let host = Host::new();
    let [first, second] = [0, 1].map(|rank| host.process_with(rank, 2, StoreHost::FirstRank));
    let waiting = thread::spawn(move || {
        first.monitor.finish();
        (Instant::now(), first.ends, first.reports)
    });
    thread::sleep(4 * FAST.beat);
    let begin = Instant::now();
    second.monitor.finish();
    let (ended, ends, reports) = waiting.join().unwrap();
    assert!(ended >= begin, "the host of the store ended while it was needed");
    drop(host);
    thread::sleep(FAST.gone + FAST.grace);
    assert!(
        ends.try_recv().is_err() && reports.try_recv().is_err() && second.ends.try_recv().is_err()
    );
}

#[test]
fn a_monitor_that_is_dropped_keeps_nobody_waiting() {
    let host = Host::new();
    let [first, second] = [0, 1].map(|rank| host.process(rank, 2));
    second.monitor.progress(5, Phase::Saving);
    drop(second.monitor);
    assert_eq!(first.explained().0, "rank 1 stopped at step 5: it has not said why");
}

#[test]
fn a_panic_is_announced() {
    let host = Host::new();
    let [first, second] = [0, 1].map(|rank| host.process(rank, 2));
    let panicking = thread::spawn(move || {
        let _second = second.monitor;
        panic!("a panic of this test")
    });
    assert!(panicking.join().is_err());
    let (text, _) = first.explained();
    assert_eq!(text, "rank 1 stopped at step 0: it panicked");
    assert_eq!(first.ends.recv_timeout(LONG), Ok(101));
}

#[test]
fn what_started_a_process_speaks_for_it() {
    let host = Host::new();
    let first = host.process(0, 2);
    host.beat(1, beat(1, 7));
    let last = host.board.last_beat(1).unwrap();
    let cause = "it was killed by signal 9".to_owned();
    host.board.claim(&Failure::of_end(1, last, 137, cause)).unwrap();
    assert_eq!(first.explained().0, "rank 1 stopped at step 7: it was killed by signal 9");
    assert_eq!(first.ends.recv_timeout(LONG), Ok(137));
}

#[test]
fn a_claim_whose_owner_has_ended_is_taken_over() {
    let host = Host::new();
    let _ = of_start(&host.store, 0).prefixed("monitor").add("claims", 1).unwrap();
    let failure = Failure::of_error(1, 3, &anyhow!("second"));
    host.board.claim(&failure).unwrap();
    host.board.claim(&Failure::of_error(0, 3, &anyhow!("third"))).unwrap();
    assert_eq!(host.board.failure().unwrap(), Some(failure));
}
