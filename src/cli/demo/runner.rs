//! Runs the demo's steps, one after another.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::progress::Bar;
use crate::logged_child::{LoggedChild, this_program};
use sonotune_base::{
    Error,
    error::of_exit_code,
    signals::{Received, Signal},
    words::duration,
};
use sonotune_demo::{DemoFolder, Step, StepTime, cpu_seconds};

/// How often a process is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Starts each step as a process of this program, shows how far it is, and keeps how long it took.
pub(super) struct Runner<'a> {
    folder: &'a DemoFolder,
    received: Received,
    num_steps: usize,
    times: Vec<StepTime>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(folder: &'a DemoFolder, num_steps: usize) -> Result<Self> {
        Ok(Self { folder, received: Received::start()?, num_steps, times: Vec::new() })
    }

    /// Runs steps in order.
    ///
    /// # Errors
    /// With the exit code of the step that failed, its title and its log; of kind interrupted, if the user stopped it.
    pub(super) fn run_all(&mut self, steps: &[Step]) -> Result<()> {
        steps.iter().try_for_each(|step| self.run(step))
    }

    pub(super) fn into_times(self) -> Vec<StepTime> {
        self.times
    }

    fn run(&mut self, step: &Step) -> Result<()> {
        let log = self.folder.log(&step.log);
        let mut command = this_program()?;
        command.args(&step.arguments);
        let (begin, cpu_before) = (Instant::now(), cpu_seconds());
        let bar = Bar::new(step, (self.times.len() + 1, self.num_steps));
        let mut child = LoggedChild::start(command, &log)?;
        let mut stopping = false;
        let code = loop {
            if let Some(signal) = self.received.take() {
                // A second signal does not wait for checkpoints.
                child.send(if stopping { Signal::Kill } else { signal });
                stopping = true;
            }
            if let Some(code) = child.ended() {
                break code;
            }
            bar.show(&step.watched);
            thread::sleep(INTERVAL);
        };
        let seconds = begin.elapsed().as_secs_f64();
        if stopping {
            bar.end("stopped");
            return Err(Error::interrupted(format!(
                "stopped as asked in the step \"{}\"; the same command begins anew and replaces {}",
                step.title,
                self.folder.path().display()
            ))
            .into());
        }
        if code != 0 {
            bar.end("failed");
            return Err(of_exit_code(
                code,
                format!(
                    "the step \"{}\" failed: {}. Its log is {}",
                    step.title,
                    child.failure(code).trim_end_matches('.'),
                    log.display()
                ),
            ));
        }
        bar.end(&duration(seconds));
        let cpu = cpu_before.zip(cpu_seconds()).map(|(before, after)| after - before);
        self.times.push(StepTime { title: step.title.clone(), seconds, cpu_seconds: cpu });
        Ok(())
    }
}
