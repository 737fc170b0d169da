//! All of the processes that `--processes` starts, until the last has ended.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::child::{Child, Ended};
use sonotune_base::signals::{Received, Signal};
use sonotune_engine::parallel::monitor::{Board, Failure};

/// How often the processes are looked at.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long the others may take to end after the first failure, or after rank 0 has done everything: their
/// own monitors end them within 10 s.
const GRACE: Duration = Duration::from_secs(15);
/// Then they are asked, and after this time killed.
const LAST_GRACE: Duration = Duration::from_secs(5);
/// How long the one that failed may take to end, once all others have.
const SHORT_GRACE: Duration = Duration::from_secs(3);
/// Exit codes of processes that ended as a signal asked for.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

#[derive(Debug)]
pub(super) struct Group {
    children: Vec<Child>,
    board: Board,
    /// The rank that failed first, and how it ended.
    first: Option<(usize, Ended)>,
    /// The user has asked to stop, once.
    is_stopping: bool,
    /// When the others were to end.
    ending: Option<Instant>,
    /// Ranks that have not ended in time.
    late: Vec<usize>,
    is_killed: bool,
}

impl Group {
    pub(super) fn new(children: Vec<Child>, board: Board) -> Self {
        Self {
            children,
            board,
            first: None,
            is_stopping: false,
            ending: None,
            late: Vec::new(),
            is_killed: false,
        }
    }

    /// Waits for all, prints a failure that rank 0 could not print, and returns the exit code.
    pub(super) fn wait(mut self, received: &Received) -> u8 {
        loop {
            if let Some(signal) = received.take() {
                if self.is_stopping {
                    self.send(Signal::Kill);
                    eprintln!("stopped at once, as asked a second time");
                    return INTERRUPTED;
                }
                self.is_stopping = true;
                self.send(signal);
            }
            if self.look() {
                break;
            }
            self.end_late_ones();
            thread::sleep(INTERVAL);
        }
        if let Some(message) = self.message() {
            eprintln!("error: {message}");
        }
        match self.first {
            Some((_, ended)) => ended.exit_code(),
            None => u8::from(!self.late.is_empty()),
        }
    }

    /// Looks which processes have ended; whether all have.
    fn look(&mut self) -> bool {
        let mut all = true;
        for rank in 0..self.children.len() {
            let Some(ended) = self.children[rank].ended() else {
                all = false;
                continue;
            };
            let is_due = !ended.is_success() || rank == 0;
            // After Ctrl-C, rank 0 may still be saving.
            if is_due && (rank == 0 || !self.is_asked_for(ended)) {
                self.ending.get_or_insert_with(Instant::now);
            }
            if !ended.is_success() && self.first.is_none() && !self.late.contains(&rank) {
                self.first = Some((rank, ended));
                if !self.is_asked_for(ended) {
                    self.tell_others(rank, ended);
                }
            }
        }
        all
    }

    /// Whether a process has ended as the user asked.
    fn is_asked_for(&self, ended: Ended) -> bool {
        self.is_stopping && [INTERRUPTED, TERMINATED].contains(&ended.exit_code())
    }

    /// Says for a process that could not say so that it has ended.
    fn tell_others(&mut self, rank: usize, ended: Ended) {
        let last = self.board.last_beat(rank).ok().flatten();
        let cause = self.cause(rank, ended);
        let mut failure = Failure::of_end(rank, last, ended.exit_code(), cause);
        if rank == 0 && matches!(ended, Ended::Exit(_)) {
            // It has printed why.
            failure.told_by = 0;
        }
        // The store is this process's own; a failure that is known already stays.
        drop(self.board.claim(&failure));
    }

    fn cause(&mut self, rank: usize, ended: Ended) -> String {
        let words = match ended {
            Ended::Exit(_) => self.children[rank].last_words(),
            Ended::Signal(_) => String::new(),
        };
        let words = words.strip_prefix("error: ").unwrap_or(&words);
        if words.is_empty() { ended.words() } else { words.to_owned() }
    }

    fn end_late_ones(&mut self) {
        let Some(since) = self.ending.map(|begin| begin.elapsed()) else { return };
        if since < SHORT_GRACE {
            return;
        }
        // The one that the others have given up: it is suspended, or hangs.
        let mut left = (0..)
            .zip(&mut self.children)
            .filter_map(|(rank, child)| child.ended().is_none().then_some(rank));
        if let (Some(rank), None) = (left.next(), left.next())
            && self.board.failure().is_ok_and(|f| f.is_some_and(|f| f.rank == rank))
        {
            self.late = vec![rank];
            return self.children[rank].send(Signal::Kill);
        }
        if since > GRACE && self.late.is_empty() {
            let late = |(rank, child): (usize, &mut Child)| child.ended().is_none().then_some(rank);
            self.late = self.children.iter_mut().enumerate().filter_map(late).collect();
            self.send(Signal::Terminate);
        }
        if since > GRACE + LAST_GRACE && !self.is_killed {
            self.is_killed = true;
            self.send(Signal::Kill);
        }
    }

    fn send(&mut self, signal: Signal) {
        self.children.iter_mut().for_each(|child| child.send(signal));
    }

    /// What is to be printed, unless rank 0 has printed it: it does so when it ends with an error.
    fn message(&mut self) -> Option<String> {
        let failure = self.board.failure().ok().flatten();
        let rank0 = self.children.first_mut().and_then(Child::ended);
        let is_told = failure.as_ref().is_none_or(|failure| failure.told_by == 0);
        if is_told && matches!(rank0, Some(Ended::Exit(code)) if code != 0) {
            return None;
        }
        if let Some((rank, ended)) = self.first.filter(|&(_, ended)| !self.is_asked_for(ended)) {
            return Some(match failure {
                Some(failure) => failure.text(),
                None => format!("rank {rank} stopped: {}", self.cause(rank, ended)),
            });
        }
        let late: Vec<_> = self.late.iter().map(ToString::to_string).collect();
        (!late.is_empty()).then(|| {
            format!(
                "rank {} did not end within {GRACE:?} of rank 0, and had to be stopped",
                late.join(", ")
            )
        })
    }
}
