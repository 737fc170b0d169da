//! Training that is killed at any moment loses no complete checkpoint, and ends as if it had not been
//! killed.
//!
//! The moments are drawn from a seed: while the program starts, between and within steps, and while a
//! checkpoint is being written, which its temporary file shows. `SONOTUNE_LONG_TESTS=1` kills
//! a hundred times instead of twelve.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sonotune_base::seed::Rng;
use sonotune_engine::checkpoint::{self, kept};
use sonotune_weights as weights;

use crate::{
    resume_oracle::{DROPOUT, checkpoints, everything_on},
    support::{assert_success, metrics},
};

const MAX_STEPS: u64 = 40;
const SEED: u64 = 6;

struct Driver {
    folder: tempfile::TempDir,
    rng: Rng,
    /// Seconds of an undisturbed run.
    whole: f64,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    /// Before the first step of the process.
    at_start: u64,
    /// With a checkpoint half written: its temporary file was left.
    within_checkpoint: u64,
    resumes: u64,
    /// Runs that finished, each compared with the undisturbed one.
    runs: u64,
}

impl Driver {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, run: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
        // With tensors this small, threads would only wait for each other.
        command.arg("train").env("OMP_NUM_THREADS", "1");
        if checkpoints(run).join(checkpoint::LAST).exists() {
            command.arg("--resume").arg(run);
        } else {
            // Killed before its first checkpoint: there is nothing to resume from.
            command.arg(self.path("config.toml")).arg("--overwrite");
            command.arg(format!("run_dir={:?}", run.display().to_string()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts or resumes the run, and kills it at a moment of the next kind; `false` if it finished
    /// before.
    fn kill_once(&mut self, run: &Path) -> bool {
        let before = last_step(run);
        let resumed = before.is_some();
        let lines = num_lines(run);
        let mut child = self.command(run).spawn().unwrap();
        match self.rng.below(4) {
            // Mostly while it starts.
            0 => sleep_seconds(self.rng.uniform() * self.whole / 8.0),
            // Anywhere.
            1 => sleep_seconds(self.rng.uniform() * self.whole / 2.0),
            // Some steps later, while a checkpoint is written.
            _ => self.wait_for_writing(&mut child, run),
        }
        child.kill().unwrap();
        let was_killed = child.wait().unwrap().signal() == Some(9);
        self.tally.resumes += u64::from(resumed);
        if was_killed {
            self.tally.kills += 1;
            // A resumed run drops lines of later steps before it adds any.
            self.tally.at_start += u64::from(num_lines(run) <= lines && last_step(run) == before);
            self.tally.within_checkpoint += u64::from(has_temporary(run));
        }
        assert_whole(run, before);
        was_killed
    }

    /// Until a few checkpoints are written and the next is being written.
    fn wait_for_writing(&mut self, child: &mut Child, run: &Path) {
        let begun = Instant::now();
        for _ in 0..=self.rng.below(4) {
            for expected in [false, true] {
                while has_temporary(run) != expected {
                    assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint");
                    if child.try_wait().unwrap().is_some() {
                        return;
                    }
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
        }
        std::thread::sleep(Duration::from_micros(self.rng.below(500)));
    }

    fn finish(&mut self, run: &Path) {
        assert_success(&self.command(run).stderr(Stdio::piped()).output().unwrap());
        self.tally.runs += 1;
        let through = self.path("through");
        assert_eq!(metrics(&through), metrics(run));
        for name in names(&checkpoints(&through)) {
            let file = |run: &Path| fs::read(checkpoints(run).join(&name)).unwrap();
            assert!(file(&through) == file(run), "{name} differs");
        }
        // Nothing of killed processes is left.
        assert_eq!(names(&checkpoints(&through)), names(&checkpoints(run)));
        let left = |name: &String| name.ends_with(".tmp") && !name.starts_with(".report.html");
        assert!(!names(run).iter().any(left), "{:?}", names(run));
    }
}

fn sleep_seconds(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn has_temporary(run: &Path) -> bool {
    names(&checkpoints(run)).iter().any(|name| name.ends_with(".tmp"))
}

fn num_lines(run: &Path) -> usize {
    fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

fn last_step(run: &Path) -> Option<u64> {
    let last = checkpoints(run).join(checkpoint::LAST);
    last.exists().then(|| checkpoint::read_progress(&last).unwrap().step)
}

/// Every checkpoint can be read to its last byte, and the last is not older than before.
fn assert_whole(run: &Path, before: Option<u64>) {
    let now = last_step(run);
    assert!(now >= before, "the last checkpoint was of step {before:?} and is of {now:?}");
    let names = names(&checkpoints(run));
    for name in names.iter().filter(|name| !name.ends_with(".tmp")) {
        let file = weights::open(&checkpoints(run).join(name)).unwrap();
        for entry in file.entries() {
            let _ = file.read(&entry.name).unwrap();
        }
        if let Some(step) = kept::step_of(name) {
            let path = checkpoints(run).join(name);
            assert_eq!(checkpoint::read_progress(&path).unwrap().step, step);
        }
    }
}

#[test]
fn killed_training_loses_no_checkpoint_and_ends_in_the_same_bytes() {
    let kills = if std::env::var_os("SONOTUNE_LONG_TESTS").is_some() { 100 } else { 12 };
    let begun = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let tiny = everything_on(folder.path(), 32, DROPOUT, "box/segm_mAP").steps(MAX_STEPS);
    let _ = tiny.set("train.keep_checkpoints=3").set("evaluation.every_steps=13").write();
    let mut driver =
        Driver { folder, rng: Rng::at(SEED, &[]), whole: 0.0, tally: Tally::default() };
    let through = driver.path("through");
    assert_success(&driver.command(&through).stderr(Stdio::piped()).output().unwrap());
    driver.whole = begun.elapsed().as_secs_f64();
    while driver.tally.kills < kills {
        let run = driver.path(&format!("run{}", driver.tally.runs));
        while driver.tally.kills < kills && driver.kill_once(&run) {}
        driver.finish(&run);
    }
    eprintln!("{:?} in {:.0} s", driver.tally, begun.elapsed().as_secs_f64());
    assert!(driver.tally.within_checkpoint > 0, "no kill came while a checkpoint was written");
    assert!(driver.tally.at_start > 0, "no kill came at the start");
}
