//! A command of a cell, in a process of its own.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use sonotune_base::{
    launch::{BY_SONOTUNE, PARENT, STARTED_BY},
    signals::{self, Signal},
};
use sonotune_study::{Cell, Failure, Study};

/// The end of a log that an error message lies in.
const TAIL: u64 = 16 << 10;

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
    process: Child,
    verb: &'static str,
    log: std::path::PathBuf,
    /// Where this command's part of the log begins.
    begin: u64,
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
        let log = study.files.log(&cell.name);
        if let Some(folder) = log.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let file = open().with_context(|| format!("cannot open {}", log.display()))?;
        let begin = file.metadata()?.len();
        let program =
            std::env::current_exe().context("cannot find this program to start it again")?;
        let mut command = Command::new(program);
        command.arg(verb).args(arguments).env(STARTED_BY, BY_SONOTUNE);
        command.env(PARENT, std::process::id().to_string());
        match share {
            Share::Gpu(number) => drop(command.env("CUDA_VISIBLE_DEVICES", visible(number))),
            Share::Threads(number) => drop(command.env("OMP_NUM_THREADS", number.to_string())),
            Share::Everything => {}
        }
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let process = command.spawn().with_context(|| format!("cannot start {verb}"))?;
        Ok(Self { process, verb, log, begin })
    }

    pub(super) fn verb(&self) -> &'static str {
        self.verb
    }

    /// The exit code, once it has ended; as a shell reports it for one that a signal ended.
    pub(super) fn ended(&mut self) -> Option<u8> {
        let status = self.process.try_wait().unwrap_or_default()?;
        let code = status.code().or_else(|| status.signal().map(|signal| signal + 128));
        Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }

    pub(super) fn send(&self, signal: Signal) {
        signals::send(self.process.id(), signal);
    }

    /// Why it failed.
    pub(super) fn failure(&self, exit_code: u8) -> Failure {
        let printed = self.printed().unwrap_or_default();
        let message = match printed.rfind("error: ") {
            Some(at) => printed[at + "error: ".len()..].trim().to_owned(),
            None if exit_code > 128 => {
                let memory =
                    if exit_code == 137 { "; Linux does so when memory runs out" } else { "" };
                format!("it was killed by signal {}{memory}", exit_code - 128)
            }
            None => format!("it ended with exit code {exit_code}"),
        };
        Failure { verb: self.verb.to_owned(), exit_code, message }
    }

    fn printed(&self) -> Result<String> {
        let mut file = File::open(&self.log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.begin.max(end.saturating_sub(TAIL))))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.send(Signal::Kill);
            let _ = self.process.wait();
        }
    }
}

/// The name of the nth GPU that this process may use.
fn visible(number: usize) -> String {
    let own = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let named = own.as_deref().and_then(|list| list.split(',').nth(number));
    named.map_or_else(|| number.to_string(), |name| name.trim().to_owned())
}
