//! Streams, events and copies without waiting, by the program of `device/checks.cpp`.

use std::collections::BTreeMap;

use rehearsal::{Device, Statistics};

/// Runs a check, whose numbers must be as it expects; returns the problems.
#[track_caller]
fn check(name: &str) -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("statistics.jsonl");
    let device = Device::new().statistics(&file);
    let output = device.command(rehearsal::checks()).arg(name).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Statistics::read(&file).problems
}

#[track_caller]
fn assert_problem(name: &str, part: &str) {
    let problems = check(name);
    assert!(problems.keys().any(|text| text.contains(part)), "{name}: {problems:?}");
}

#[test]
fn work_that_waits_for_the_other_stream_is_no_problem() {
    for name in ["upload", "free", "overwrite", "fetch"] {
        assert_eq!(check(name), BTreeMap::new(), "{name}");
    }
}

#[test]
fn a_copy_that_is_used_before_it_has_arrived_is_a_problem() {
    assert_problem("upload_without_wait", "reads what was written on stream 1 without waiting");
}

#[test]
fn memory_freed_under_another_streams_work_is_a_problem() {
    assert_problem("free_without_record", "record_stream, or a wait, is missing");
}

#[test]
fn memory_overwritten_under_another_streams_work_is_a_problem() {
    assert_problem("overwrite_without_wait", "overwrites what is read on the default stream");
}

#[test]
fn what_is_fetched_appears_with_the_right_wait_only() {
    // The check itself compares the values.
    assert_eq!(check("fetch_and_wait_for_another"), BTreeMap::new());
}
