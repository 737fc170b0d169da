//! The torchrun of PyPI's torch starts two processes; one of them is killed again and again, torchrun starts
//! both anew, and the run ends with the bytes of an uninterrupted one.
//!
//! `SONOTUNE_LONG_TESTS=1` kills twenty times instead of four.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sonotune_base::seed::Rng;

use crate::{
    processes_support::{Group, logged, run, signal, tiny, wait_for},
    support::{assert_contains, last, metrics, python},
};

const MAX_STEPS: u64 = 60;
const SEED: u64 = 11;

/// A Python with torch: the one that `cargo xtask test` prepares from libtorch, or the user's.
fn python_with_torch() -> Option<PathBuf> {
    let own = sonotune_testing::root().join(".python/torchrun/bin/python");
    if own.exists() { Some(own) } else { python(&["torch.distributed.run"]) }
}

fn torchrun(python: &Path, options: &[&str], arguments: &[&str]) -> Group {
    let mut command = Command::new(python);
    command.args(["-m", "torch.distributed.run", "--standalone", "--no-python"]);
    command.args(["--nproc-per-node", "2"]).args(options).arg(env!("CARGO_BIN_EXE_sonotune"));
    Group::start(command.args(arguments))
}

#[test]
fn killed_processes_are_started_anew_and_end_in_the_same_bytes() {
    let Some(python) = python_with_torch() else { return };
    let kills = if std::env::var_os("SONOTUNE_LONG_TESTS").is_some() { 20 } else { 4 };
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path()).steps(MAX_STEPS).set("augment.scale_range=[0.5,1.5]").write();
    let config = config.display().to_string();
    let through = format!("run_dir={}", folder.path().join("through").display());
    let group = torchrun(&python, &[], &["train", &config, &through, "--resume-or-start"]);
    let port = group.port();
    let ended = group.wait(port);
    assert!(ended.status.success(), "{}", ended.stderr);

    let mut rng = Rng::at(SEED, &[]);
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        let run = folder.path().join(format!("run{runs}"));
        let place = format!("run_dir={}", run.display());
        let options = ["--max-restarts", "50", "--monitor-interval", "0.1"];
        let group = torchrun(&python, &options, &["train", &config, &place, "--resume-or-start"]);
        let port = group.port();
        // Some before the first checkpoint, some between checkpoints; the last run of all is let go.
        for _ in 0..2 + rng.below(3) {
            let rank = rng.below(2) as usize;
            let pid = group.rank(rank);
            let step = logged(&run) + rng.below(12);
            let is_over = || {
                let is_due = logged(&run) >= step.min(MAX_STEPS - 10);
                (is_due || !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
            };
            wait_for("a step", is_over);
            std::thread::sleep(Duration::from_millis(rng.below(300)));
            if killed < kills && group.rank(rank) == pid {
                signal(pid, "KILL");
                killed += 1;
                wait_for("a new start", || (group.rank(rank) != pid).then_some(()));
            }
        }
        let ended = group.wait(port);
        assert!(ended.status.success(), "{}", ended.stderr);
        let through = folder.path().join("through");
        assert!(last(&through) == last(&run), "run {runs} differs");
        assert_eq!(metrics(&through), metrics(&run));
        runs += 1;
    }
    eprintln!("{killed} kills in {runs} runs");
}

#[test]
fn what_one_process_reports_ends_the_group_once() {
    let Some(python) = python_with_torch() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path()).steps(100_000).write().display().to_string();
    let group = torchrun(&python, &[], &["train", &config]);
    let port = group.port();
    wait_for("a step", || (logged(&run(folder.path())) >= 2).then_some(()));
    signal(group.rank(1), "KILL");
    let ended = group.wait(port);
    assert!(!ended.status.success());
    // torchrun itself reports the signal; rank 0 names the rank.
    assert_contains(&ended.stderr, &["Signal 9 (SIGKILL)", "error: rank 1 has not been heard of"]);
    assert!(ended.seconds < 25.0, "{}", ended.seconds);
}
