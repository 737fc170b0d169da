//! A process whose output is read item by item: with a limit on the time without progress, its error
//! output kept for the message, and an end with its handle.

use std::{
    io::{BufReader, Read},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// What is kept of the error output.
const MAX_MESSAGE: usize = 2000;

pub(super) struct Process<T> {
    child: Child,
    items: Receiver<Result<Option<T>>>,
    message: Receiver<String>,
    patience: Duration,
}

type Pipe = BufReader<ChildStdout>;

impl<T: Send + 'static> Process<T> {
    /// Starts `command`, whose output `read` takes apart in a thread; an item waits there until it is
    /// asked for, so that one at most is read ahead.
    pub(super) fn start(
        mut command: Command,
        patience: Duration,
        mut read: impl FnMut(&mut Pipe) -> Result<Option<T>> + Send + 'static,
    ) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_owned();
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let (send, items) = sync_channel(0);
        let stdout = child.stdout.take().context("it has no output")?;
        thread::spawn(move || {
            let mut pipe = BufReader::new(stdout);
            loop {
                let item = read(&mut pipe);
                let is_last = !matches!(item, Ok(Some(_)));
                if send.send(item).is_err() || is_last {
                    break;
                }
            }
        });
        let (send, message) = channel();
        let stderr = child.stderr.take().context("it has no error output")?;
        thread::spawn(move || drop(send.send(excerpt(stderr))));
        Ok(Self { child, items, message, patience })
    }

    /// The next item; `None` once the process has ended well.
    pub(super) fn next(&mut self) -> Result<Option<T>> {
        match self.items.recv_timeout(self.patience) {
            Ok(Ok(Some(item))) => Ok(Some(item)),
            Ok(Ok(None)) => self.finish().map(|()| None),
            Ok(Err(e)) => match self.finish() {
                Ok(()) => Err(e),
                Err(ended) => bail!("{e:#}: {ended:#}"),
            },
            Err(RecvTimeoutError::Timeout) => {
                bail!("it made no progress in {} s and was stopped", self.patience.as_secs_f32())
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }

    fn finish(&mut self) -> Result<()> {
        let status = self.status()?;
        if status.success() {
            return Ok(());
        }
        // A process that it started in turn may hold the error output open.
        let message = self.message.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        let message = message.trim();
        if message.is_empty() {
            bail!("it ended with {status} and said nothing");
        }
        bail!("{message} ({status})")
    }

    fn status(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + self.patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("it does not end after its last frame and was stopped");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl<T> Drop for Process<T> {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The beginning of the error output, as one line; the rest is read and dropped, so that the process
/// does not wait for a reader.
fn excerpt(mut stderr: ChildStderr) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(len @ 1..) = stderr.read(&mut buffer) {
        let room = MAX_MESSAGE - kept.len();
        kept.extend(&buffer[..len.min(room)]);
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}
