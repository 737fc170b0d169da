//! Runs the cells of a study, as many at a time as the machine has room for.

use std::{
    collections::VecDeque,
    fs::{File, TryLockError},
    num::NonZero,
    thread::{self, available_parallelism},
    time::{Duration, Instant},
};

use anyhow::Result;

use sonotune_base::signals::{Received, Signal};
use sonotune_run_folder::RunFiles;
use sonotune_study::{Cell, State, Study};

use super::{
    job::{Job, Share},
    progress::{Deadline, Durations, say_done},
};

/// How often the processes are looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// A process that still has a run open after this time is not ending.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Exit codes of runs that ended as a signal asked.
const STOPPED: [u8; 2] = [130, 143];

/// Why no more runs are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Every cell is done or has failed.
    Complete,
    /// `budget.hours` are over.
    OutOfTime,
    /// The user asked to stop.
    Stopped,
}

pub(super) struct Queue<'a> {
    study: &'a Study,
    waiting: VecDeque<&'a Cell>,
    /// One for each run at a time.
    places: Vec<Place<'a>>,
    durations: Durations,
    deadline: Deadline,
    num_cells: usize,
    num_ended: usize,
}

struct Place<'a> {
    share: Share,
    running: Option<Running<'a>>,
}

struct Running<'a> {
    cell: &'a Cell,
    job: Job,
    begin: Instant,
}

impl<'a> Queue<'a> {
    pub(super) fn new(study: &'a Study, cells: &'a [Cell]) -> Result<Self> {
        let mut queue = Self {
            study,
            waiting: VecDeque::new(),
            places: Vec::new(),
            durations: Durations::default(),
            deadline: Deadline::after(study.config.budget.hours),
            num_cells: cells.len(),
            num_ended: 0,
        };
        for cell in cells {
            match State::of(cell, &study.files)? {
                State::Done => {
                    queue.durations.add_finished(study, cell);
                    queue.tidy(cell);
                    queue.num_ended += 1;
                }
                State::Failed(_) => queue.num_ended += 1,
                State::ToTrain | State::ToScore => queue.waiting.push_back(cell),
            }
        }
        let shares = shares(study.config.runs.at_a_time, queue.waiting.len());
        queue.places = shares.into_iter().map(|share| Place { share, running: None }).collect();
        Ok(queue)
    }

    /// Runs what is left to run.
    ///
    /// # Errors
    /// If a process cannot be started, or a file of the study not be written. What a run does wrong is
    /// recorded as its failure.
    pub(super) fn run(mut self) -> Result<Ended> {
        let received = Received::start()?;
        let mut stopping = false;
        if !self.waiting.is_empty() {
            let places = self.places.len();
            eprintln!(
                "{} of {} runs to do, {places} at a time",
                self.waiting.len(),
                self.num_cells
            );
        }
        loop {
            if let Some(signal) = received.take() {
                // A second signal does not wait for checkpoints.
                self.send(if stopping { Signal::Kill } else { signal });
                stopping = true;
            }
            for index in 0..self.places.len() {
                self.look(index, stopping)?;
                if !stopping && !self.deadline.is_over() && self.places[index].running.is_none() {
                    self.start(index)?;
                }
            }
            if self.places.iter().all(|place| place.running.is_none()) {
                return Ok(match () {
                    () if stopping => Ended::Stopped,
                    () if self.waiting.is_empty() => Ended::Complete,
                    () => Ended::OutOfTime,
                });
            }
            thread::sleep(INTERVAL);
        }
    }

    fn send(&self, signal: Signal) {
        for running in self.places.iter().filter_map(|place| place.running.as_ref()) {
            running.job.send(signal);
        }
    }

    fn start(&mut self, index: usize) -> Result<()> {
        let Some(cell) = self.waiting.pop_front() else { return Ok(()) };
        let share = self.places[index].share;
        wait_for_former(self.study, cell);
        let job = match State::of(cell, &self.study.files)? {
            State::ToScore => Job::score(self.study, cell, share)?,
            _ => Job::train(self.study, cell, share)?,
        };
        self.places[index].running = Some(Running { cell, job, begin: Instant::now() });
        Ok(())
    }

    /// Looks whether the run at a place has ended.
    fn look(&mut self, index: usize, stopping: bool) -> Result<()> {
        let share = self.places[index].share;
        let Some(mut running) = self.places[index].running.take() else { return Ok(()) };
        match running.job.ended() {
            None => self.places[index].running = Some(running),
            Some(0) if running.job.verb() == "train" && !stopping => {
                let job = Job::score(self.study, running.cell, share)?;
                self.places[index].running = Some(Running { job, ..running });
            }
            Some(0) if running.job.verb() == "train" => {}
            Some(0) => {
                self.num_ended += 1;
                self.durations.add(running.cell, running.begin.elapsed().as_secs_f64());
                self.tidy(running.cell);
                let place = (self.num_ended, self.num_cells);
                say_done(self.study, running.cell, place, running.begin, self.left());
            }
            // It has saved what it had.
            Some(code) if STOPPED.contains(&code) || stopping => {}
            Some(code) => {
                self.num_ended += 1;
                let failure = running.job.failure(code);
                failure.write(running.cell, &self.study.files)?;
                let (title, message) = (running.cell.title(), &failure.message);
                let place = format!("[{}/{}]", self.num_ended, self.num_cells);
                eprintln!("{place} {title}: {} failed: {message}", failure.verb);
            }
        }
        Ok(())
    }

    fn left(&self) -> Option<f64> {
        let running = self.places.iter().filter_map(|place| place.running.as_ref());
        let cells = self.waiting.iter().copied().chain(running.map(|running| running.cell));
        self.durations.left(cells, self.places.len())
    }

    /// A finished run does not need the state from which training would go on.
    fn tidy(&self, cell: &Cell) {
        let run = RunFiles::of(&self.study.files.run(&cell.name));
        if !self.study.config.runs.keep_last_checkpoints && run.best().is_file() {
            // What is left over only takes room.
            let _ = std::fs::remove_file(run.last());
        }
    }
}

/// Waits until a run that a killed study has left behind has ended: it is being killed as well.
fn wait_for_former(study: &Study, cell: &Cell) {
    let log = RunFiles::of(&study.files.run(&cell.name)).log();
    let begin = Instant::now();
    while begin.elapsed() < LONGEST_WAIT {
        let Ok(file) = File::open(&log) else { return };
        if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return;
        }
        thread::sleep(INTERVAL);
    }
}

/// What each run at a time has of the machine.
fn shares(at_a_time: Option<usize>, waiting: usize) -> Vec<Share> {
    let gpus = usize::try_from(tch::Cuda::device_count()).unwrap_or_default();
    let wanted = at_a_time.unwrap_or_else(|| gpus.max(1)).min(waiting.max(1));
    if gpus > 0 {
        return (0..wanted).map(|number| Share::Gpu(number % gpus)).collect();
    }
    let cores = available_parallelism().map_or(1, NonZero::get);
    match wanted {
        1 => vec![Share::Everything],
        several => vec![Share::Threads((cores / several).max(1)); several],
    }
}
