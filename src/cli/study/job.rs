//! A command of a cell, in a process of its own.

use std::path::Path;

use anyhow::Result;

use crate::logged_child::{LoggedChild, this_program};
use sonotune_base::signals::Signal;
use sonotune_study::{Cell, Failure, Study};

/// Which part of the machine a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// The GPU of this number.
    Gpu(usize),
    /// This many threads.
    Threads(usize),
    /// Whatever the run takes.
    Everything,
}

/// A process that trains or scores a cell. Killed when this value goes.
#[derive(Debug)]
pub(super) struct Job {
    process: LoggedChild,
    verb: &'static str,
}

impl Job {
    pub(super) fn train(study: &Study, cell: &Cell, share: Share) -> Result<Self> {
        let config = study.files.cell(&cell.name);
        Self::start(
            study,
            cell,
            share,
            "train",
            &[config.as_path(), Path::new("--resume-or-start")],
        )
    }

    pub(super) fn score(study: &Study, cell: &Cell, share: Share) -> Result<Self> {
        let run = study.files.run(&cell.name);
        let arguments = [Path::new("--run"), &run, Path::new("--split"), Path::new("test")];
        Self::start(study, cell, share, "eval", &arguments)
    }

    fn start(
        study: &Study,
        cell: &Cell,
        share: Share,
        verb: &'static str,
        arguments: &[&Path],
    ) -> Result<Self> {
        let mut command = this_program()?;
        command.arg(verb).args(arguments);
        match share {
            Share::Gpu(number) => drop(command.env("CUDA_VISIBLE_DEVICES", visible(number))),
            Share::Threads(number) => drop(command.env("OMP_NUM_THREADS", number.to_string())),
            Share::Everything => {}
        }
        let process = LoggedChild::start(command, &study.files.log(&cell.name))?;
        Ok(Self { process, verb })
    }

    pub(super) fn verb(&self) -> &'static str {
        self.verb
    }

    /// Same as [`LoggedChild::ended`].
    pub(super) fn ended(&mut self) -> Option<u8> {
        self.process.ended()
    }

    pub(super) fn send(&self, signal: Signal) {
        self.process.send(signal);
    }

    /// Why it failed.
    pub(super) fn failure(&self, exit_code: u8) -> Failure {
        let message = self.process.failure(exit_code);
        Failure { verb: self.verb.to_owned(), exit_code, message }
    }
}

/// The name of the nth GPU that this process may use.
fn visible(number: usize) -> String {
    let own = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let named = own.as_deref().and_then(|list| list.split(',').nth(number));
    named.map_or_else(|| number.to_string(), |name| name.trim().to_owned())
}
