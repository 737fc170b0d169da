//! A command of this program in a process of its own, which prints to a log.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use sonotune_base::{
    launch::{BY_SONOTUNE, PARENT, STARTED_BY},
    signals::{self, Signal},
};

/// The end of a log that an error message lies in.
const TAIL: u64 = 16 << 10;

/// This program, to be started with a verb and arguments.
///
/// # Errors
/// If the program cannot be found.
pub(super) fn this_program() -> Result<Command> {
    let program = std::env::current_exe().context("cannot find this program to start it again")?;
    Ok(Command::new(program))
}

/// A process whose output goes to a log. Killed when this value goes.
#[derive(Debug)]
pub(super) struct LoggedChild {
    process: Child,
    log: PathBuf,
    /// Where this command's part of the log begins.
    begin: u64,
}

impl LoggedChild {
    /// Starts a command, whose output is appended to `log`.
    ///
    /// # Errors
    /// If the log cannot be opened or the process not be started.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        if let Some(folder) = log.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let file = open().with_context(|| format!("cannot open {}", log.display()))?;
        let begin = file.metadata()?.len();
        command.env(STARTED_BY, BY_SONOTUNE).env(PARENT, std::process::id().to_string());
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let process = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { process, log: log.to_owned(), begin })
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

    /// Why it failed: its error message, without `error: `.
    pub(super) fn failure(&self, exit_code: u8) -> String {
        let printed = self.printed().unwrap_or_default();
        match printed.rfind("error: ") {
            Some(at) => printed[at + "error: ".len()..].trim().to_owned(),
            None if exit_code > 128 => {
                let memory =
                    if exit_code == 137 { "; Linux does so when memory runs out" } else { "" };
                format!("it was killed by signal {}{memory}", exit_code - 128)
            }
            None => format!("it ended with exit code {exit_code}"),
        }
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

impl Drop for LoggedChild {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.send(Signal::Kill);
            let _ = self.process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(script: &str, log: &Path) -> (LoggedChild, u8) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut child = LoggedChild::start(command, log).unwrap();
        loop {
            if let Some(code) = child.ended() {
                return (child, code);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn a_failure_is_the_last_error_of_this_command() {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("logs/a.log");
        let (child, code) = ended("echo 'error: first' >&2; exit 3", &log);
        assert_eq!((code, child.failure(code)), (3, "first".to_owned()));
        let (child, code) = ended("exit 4", &log);
        assert_eq!((code, child.failure(code)), (4, "it ended with exit code 4".to_owned()));
        let (child, code) = ended("kill -9 $$", &log);
        assert_eq!(code, 137);
        assert!(child.failure(code).contains("memory runs out"), "{}", child.failure(code));
    }
}
