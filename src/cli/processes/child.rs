//! One of the processes that `--processes` starts.

use std::{
    ffi::OsString,
    io::Read,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{self, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};

use sonotune_base::{
    launch::Launch,
    signals::{self, Signal},
};

/// A process and what it leaves behind. Killed when this value goes.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    ended: Option<Ended>,
    /// The end of what it printed, unless that goes to the terminal.
    printed: Option<Printed>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Exit(u8),
    /// By a signal.
    Signal(u8),
}

impl Child {
    pub(super) fn start(
        program: &Path,
        arguments: &[OsString],
        launch: &Launch,
        threads: Option<usize>,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).envs(launch.variables()).process_group(0);
        if let Some(threads) = threads {
            command.env("OMP_NUM_THREADS", threads.to_string());
        }
        if launch.rank > 0 {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        }
        let mut process = command.spawn().with_context(|| {
            format!("cannot start process {} of {}", launch.rank + 1, launch.world_size)
        })?;
        let printed = process.stderr.take().map(Printed::of);
        Ok(Self { process, ended: None, printed })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            // An error means that it is not ours to wait for any more, which only its end can cause.
            let status = self.process.try_wait().unwrap_or_default()?;
            self.ended = Some(Ended::of(status));
        }
        self.ended
    }

    /// Sends a signal, unless it has ended: its number may belong to another process by then.
    pub(super) fn send(&mut self, signal: Signal) {
        if self.ended().is_none() {
            signals::send(self.process.id(), signal);
        }
    }

    /// The last that it printed, once it has ended; empty for one that prints to the terminal.
    pub(super) fn last_words(&mut self) -> String {
        self.printed.as_mut().map(Printed::text).unwrap_or_default()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.send(Signal::Kill);
        let _ = self.process.wait();
    }
}

impl Ended {
    fn of(status: ExitStatus) -> Self {
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        match status.signal() {
            Some(signal) => Self::Signal(byte(signal)),
            None => Self::Exit(byte(status.code().unwrap_or(1))),
        }
    }

    pub(super) fn is_success(self) -> bool {
        self == Self::Exit(0)
    }

    /// As a shell reports it.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Exit(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }

    pub(super) fn words(self) -> String {
        let Self::Signal(signal) = self else {
            return format!("it ended with exit code {}", self.exit_code());
        };
        let name = match signal {
            2 => " (SIGINT)",
            4 => " (SIGILL)",
            6 => " (SIGABRT)",
            7 => " (SIGBUS)",
            9 => " (SIGKILL; Linux does so when memory runs out)",
            11 => " (SIGSEGV)",
            15 => " (SIGTERM)",
            _ => "",
        };
        format!("it was killed by signal {signal}{name}")
    }
}

/// Reads what a process prints, and keeps the end.
#[derive(Debug)]
struct Printed {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Printed {
    /// Bytes that are kept.
    const LIMIT: usize = 8 << 10;

    fn of(mut pipe: ChildStderr) -> Self {
        let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
        let into = kept.clone();
        let reader = thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut part) {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&part[..length]);
                let excess = kept.len().saturating_sub(Self::LIMIT);
                kept.drain(..excess);
            }
        });
        Self { kept, reader: Some(reader) }
    }

    fn text(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, rank: usize) -> Child {
        let launch = Launch {
            rank,
            world_size: 3,
            local_rank: rank,
            local_world_size: 3,
            master_addr: "127.0.0.1".to_owned(),
            master_port: 1,
            store: sonotune_base::launch::StoreHost::Agent,
            restart_count: 0,
            starter: sonotune_base::launch::Starter::Own,
        };
        let arguments = ["-c", script].map(OsString::from);
        Child::start(Path::new("/bin/sh"), &arguments, &launch, Some(3)).unwrap()
    }

    fn wait(child: &mut Child) -> Ended {
        loop {
            if let Some(ended) = child.ended() {
                return ended;
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn a_process_gets_its_place_and_its_last_words_are_kept() {
        let script = "yes | head -c 100000 >&2; echo; echo rank $RANK of $WORLD_SIZE \
                      with $OMP_NUM_THREADS >&2; exit 3";
        let mut child = shell(script, 2);
        assert_eq!(wait(&mut child), Ended::Exit(3));
        let words = child.last_words();
        assert!(words.ends_with("rank 2 of 3 with 3") && words.len() <= Printed::LIMIT, "{words}");
    }

    #[test]
    fn a_signal_ends_a_process_and_is_told() {
        let mut child = shell("sleep 60", 1);
        child.send(Signal::Kill);
        let ended = wait(&mut child);
        assert_eq!((ended, ended.exit_code()), (Ended::Signal(9), 137));
        assert!(ended.words().contains("signal 9 (SIGKILL"));
        assert_eq!(Ended::Exit(5).words(), "it ended with exit code 5");
    }

    #[test]
    fn no_process_outlives_its_value() {
        let child = shell("sleep 60 & wait", 1);
        let folder = format!("/proc/{}", child.process.id());
        assert!(Path::new(&folder).exists());
        drop(child);
        assert!(!Path::new(&folder).exists());
    }
}
