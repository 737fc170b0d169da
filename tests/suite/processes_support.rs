//! A group of processes that a test starts, disturbs and watches to the end.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use sonotune_testing::Tiny;
use tempfile::TempDir;

use crate::support::{PROMPTS, phantoms};

/// Longer than anything may take on a machine that does much else.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A run of a tiny promptable model by two processes, and the folder that it happens in.
pub(crate) fn tiny(folder: &Path) -> Tiny {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).task(PROMPTS);
    tiny.with(CONFIG)
}

const CONFIG: &str = r#"
[loader]
num_workers = 1
[train]
checkpoint_every_steps = 2
[logging]
num_images = 0
"#;

/// What was started, with all that it starts itself.
pub(crate) struct Group {
    pub(crate) process: Child,
    /// Marks all of its processes, by a variable of their environment.
    mark: String,
    folder: TempDir,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) seconds: f64,
}

const MARK: &str = "SONOTUNE_TEST_GROUP";

impl Group {
    /// Starts a command that starts others.
    pub(crate) fn start(command: &mut Command) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{count}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        command.env(MARK, &mark).env("OMP_NUM_THREADS", "1");
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        Self { process: command.spawn().unwrap(), mark, folder }
    }

    /// `sonotune train CONFIG --processes 2 …`
    pub(crate) fn train(config: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
        Self::start(command.arg("train").arg(config).args(["--processes", "2"]).args(more))
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("err")).unwrap()
    }

    /// Its processes, with their variables; `self.process` is one of them.
    fn processes(&self) -> Vec<(u32, Vec<String>)> {
        let mark = format!("{MARK}={}", self.mark);
        let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_string_lossy().parse().ok()?;
            let variables = fs::read(entry.path().join("environ")).ok()?;
            let variables: Vec<String> = variables
                .split(|&byte| byte == 0)
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect();
            variables.contains(&mark).then_some((pid, variables))
        });
        processes.collect()
    }

    /// The process of that rank, with its variables.
    fn find(&self, rank: usize) -> Option<(u32, Vec<String>)> {
        let name = format!("RANK={rank}");
        self.processes().into_iter().find(|(_, variables)| variables.contains(&name))
    }

    /// Waits until the process of that rank is there.
    pub(crate) fn rank(&self, rank: usize) -> u32 {
        wait_for("a rank", || self.find(rank)).0
    }

    /// The port of the store.
    pub(crate) fn port(&self) -> u16 {
        let (_, variables) = wait_for("rank 0", || self.find(0));
        let port = variables.iter().find_map(|text| text.strip_prefix("MASTER_PORT="));
        port.unwrap().parse().unwrap()
    }

    /// Waits for its end; nothing of it may be left a moment later.
    #[track_caller]
    pub(crate) fn wait(mut self, port: u16) -> Ended {
        let begin = Instant::now();
        let status = wait_for("its end", || self.process.try_wait().unwrap());
        let seconds = begin.elapsed().as_secs_f64();
        self.assert_nothing_is_left(port, Duration::from_secs(2));
        Ended { status, stderr: self.stderr(), seconds }
    }

    /// No process and no listening port is left within `limit`.
    #[track_caller]
    pub(crate) fn assert_nothing_is_left(&self, port: u16, limit: Duration) {
        let begin = Instant::now();
        loop {
            let left: Vec<u32> = self.processes().into_iter().map(|(pid, _)| pid).collect();
            let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
            if left.is_empty() && !listens {
                return;
            }
            assert!(begin.elapsed() < limit, "processes {left:?} are left, port {port}: {listens}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Group {
    /// A test that failed leaves nothing behind.
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            signal(pid, "KILL");
        }
        let _ = self.process.wait();
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).output();
}

/// Asks again and again.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begin.elapsed() < LONG, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a run has logged a step.
#[track_caller]
pub(crate) fn wait_for_step(run: &Path, step: u64) {
    wait_for("a step", || (logged(run) >= step).then_some(()));
}

/// The last step that a run has logged.
pub(crate) fn logged(run: &Path) -> u64 {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let step = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64();
    text.lines().filter_map(step).max().unwrap_or(0)
}

/// Asserts that the error was printed, and once.
#[track_caller]
pub(crate) fn assert_told_once(stderr: &str, parts: &[&str]) {
    let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let [line] = lines[..] else { panic!("{} errors in: {stderr}", lines.len()) };
    crate::support::assert_contains(line, parts);
}

pub(crate) fn run(folder: &Path) -> PathBuf {
    folder.join("run")
}
