//! `--processes 2`: how a group starts, and how it ends when one of it is killed, stopped, interrupted or
//! fails: all of it, soon, with one message that names the rank, the step and the cause.

use std::{fs, os::unix::process::ExitStatusExt, process::Command};

use crate::{
    processes_support::{Ended, Group, assert_told_once, run, signal, tiny, wait_for_step},
    small_disk::SmallDisk,
    support::{Copied, assert_fails, assert_success, last, metrics, sonotune, train},
};

/// More steps than any test waits for.
const ENDLESS: &str = "train.max_steps=100000";

#[test]
fn one_process_is_like_none_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path()).write();
    let [plain, one] = ["plain", "one"].map(|name| folder.path().join(name));
    assert_success(&train(&config, &plain, &[]));
    assert_success(&train(&config, &one, &["--processes", "1"]));
    assert!(last(&plain) == last(&one));
    assert_eq!(metrics(&plain), metrics(&one));
}

#[test]
fn within_a_group_no_other_is_started() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    command.args(["train", "x.toml", "--processes", "2"]);
    for (name, value) in [("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")]
        .into_iter()
        .chain([("LOCAL_WORLD_SIZE", "4"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")])
    {
        command.env(name, value);
    }
    let words = ["--processes", "rank 1 of 4", "torchrun's variables", "leave out --processes"];
    assert_fails(&command.output().unwrap(), 2, &words);
    assert_fails(&sonotune(&["train", "x.toml", "--processes", "0"]), 2, &["not in 1..=1024"]);
}

#[test]
fn an_error_that_all_have_is_told_once() {
    let output = sonotune(&["train", "absent.toml", "--processes", "3"]);
    assert_fails(&output, 2, &["absent.toml: cannot be read"]);
    assert_told_once(&String::from_utf8_lossy(&output.stderr), &["absent.toml"]);
}

/// Kills a process of a running group.
fn killed(rank: usize) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let group = Group::train(&tiny(folder.path()).write(), &[ENDLESS]);
    wait_for_step(&run(folder.path()), 4);
    let port = group.port();
    signal(group.rank(rank), "KILL");
    group.wait(port)
}

#[test]
fn a_killed_process_ends_the_others() {
    for rank in [0, 1] {
        let ended = killed(rank);
        assert_eq!(ended.status.code(), Some(137), "{}", ended.stderr);
        let rank = format!("rank {rank} stopped at step ");
        assert_told_once(&ended.stderr, &[&rank, "killed by signal 9 (SIGKILL"]);
        assert!(ended.seconds < 12.0, "{}", ended.seconds);
    }
}

#[test]
fn processes_do_not_outlive_the_one_that_started_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut group = Group::train(&tiny(folder.path()).write(), &[ENDLESS]);
    wait_for_step(&run(folder.path()), 2);
    let port = group.port();
    group.process.kill().unwrap();
    assert_eq!(group.process.wait().unwrap().signal(), Some(9));
    group.assert_nothing_is_left(port, std::time::Duration::from_secs(12));
}

#[test]
fn an_interrupt_stops_all_at_the_same_step_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path()).steps(40).write();
    let through = format!("run_dir={}", folder.path().join("through").display());
    let group = Group::train(&config, &[&through]);
    let port = group.port();
    let ended = group.wait(port);
    assert!(ended.status.success(), "{}", ended.stderr);

    let run = run(folder.path());
    for (name, step) in [("INT", 5), ("TERM", 15)] {
        let path = run.display().to_string();
        let resume = ["--resume", &path, "--processes", "2"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
        let group = match name {
            "INT" => Group::train(&config, &[]),
            _ => Group::start(command.arg("train").args(resume)),
        };
        wait_for_step(&run, step);
        let port = group.port();
        signal(group.process.id(), name);
        let ended = group.wait(port);
        assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
        assert_told_once(&ended.stderr, &["stopped after step", "as asked", "--resume"]);
    }
    let path = run.display().to_string();
    assert_success(&sonotune(&["train", "--resume", &path, "--processes", "2"]));
    let through = folder.path().join("through");
    assert!(last(&run) == last(&through));
    assert_eq!(metrics(&run), metrics(&through));
}

#[test]
fn a_second_interrupt_ends_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let group = Group::train(&tiny(folder.path()).write(), &[ENDLESS]);
    wait_for_step(&run(folder.path()), 2);
    let port = group.port();
    // It cannot stop: it is suspended.
    signal(group.rank(1), "STOP");
    signal(group.process.id(), "INT");
    std::thread::sleep(std::time::Duration::from_secs(1));
    signal(group.process.id(), "INT");
    let ended = group.wait(port);
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("a second time") && ended.seconds < 5.0, "{}", ended.stderr);
}

/// Suspends a process of a running group: it lives, but gives no sign of life.
fn suspended(rank: usize) {
    let folder = tempfile::tempdir().unwrap();
    let group = Group::train(&tiny(folder.path()).write(), &[ENDLESS]);
    wait_for_step(&run(folder.path()), 2);
    let port = group.port();
    signal(group.rank(rank), "STOP");
    let ended = group.wait(port);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let rank = format!("rank {rank} has not been heard of for 3");
    assert_told_once(&ended.stderr, &[&rank, "last at step"]);
    assert!((29.0..50.0).contains(&ended.seconds), "{}", ended.seconds);
}

#[test]
fn a_suspended_rank_0_ends_the_others() {
    suspended(0);
}

#[test]
fn a_suspended_rank_1_ends_the_others() {
    suspended(1);
}

#[test]
fn a_process_that_hangs_is_named_after_the_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let copied = Copied::to(&folder.path().join("phantoms"));
    // A program that opens it waits for a writer.
    let image = copied.image("train", 3);
    fs::remove_file(&image).unwrap();
    assert_success(&Command::new("mkfifo").arg(&image).output().unwrap());
    let config = tiny(folder.path()).data(&copied.0).write();
    let more = ["loader.shuffle=false", "~dataset.val", "dataset.check_files=none", ENDLESS];
    let group = Group::train(&config, &[&more[..], &["parallel.timeout_seconds=8"]].concat());
    let port = group.port();
    let ended = group.wait(port);
    assert!(!ended.status.success());
    assert_told_once(&ended.stderr, &["rank 1 hangs", "loading images", "timeout_seconds"]);
    assert!(ended.seconds < 8.0 + 15.0 + 15.0, "{}", ended.seconds);
}

#[test]
fn a_disk_that_is_full_for_rank_0_ends_all() {
    let Some(disk) = SmallDisk::mount(700) else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = disk.path().join("run");
    let place = format!("run_dir={}", run.display());
    let group = Group::train(&tiny(folder.path()).write(), &[&place, ENDLESS]);
    let port = group.port();
    let ended = group.wait(port);
    assert_eq!(ended.status.code(), Some(6), "{}", ended.stderr);
    let words =
        ["no checkpoint of step 2 is saved", "too little space", &place["run_dir=".len()..]];
    assert_told_once(&ended.stderr, &words);
}

#[test]
fn an_error_of_rank_1_alone_is_told_by_rank_0() {
    let folder = tempfile::tempdir().unwrap();
    let copied = Copied::to(&folder.path().join("phantoms"));
    // Rank 1 loads the second half of each batch of four.
    let image = copied.image("train", 4 + 2);
    fs::write(&image, "not an image").unwrap();
    let config = tiny(folder.path()).data(&copied.0).write();
    let more = ["loader.shuffle=false", "~dataset.val", "dataset.check_files=none", ENDLESS];
    let group = Group::train(&config, &more);
    let port = group.port();
    let ended = group.wait(port);
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    let name = image.file_name().unwrap().to_string_lossy().into_owned();
    assert_told_once(&ended.stderr, &["rank 1", "step 1", &name]);
    assert!(ended.seconds < 30.0, "{}", ended.seconds);
}
