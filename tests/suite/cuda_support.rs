//! The program on the rehearsal device: a GPU made of host memory, see docs/gpu.md.

use std::{
    path::Path,
    process::Output,
    sync::atomic::{AtomicUsize, Ordering},
};

use rehearsal::{Device, Statistics};
use sonotune_testing::{Tiny, assert_success};

use crate::support::phantoms;

/// Runs the program on `device`, and reads what it made the device do.
pub(crate) fn on(device: &Device, args: &[&str]) -> (Output, Option<Statistics>) {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("statistics-{}.jsonl", RUNS.fetch_add(1, Ordering::Relaxed));
    let file = phantoms().join(name);
    let device = device.clone().statistics(&file);
    let mut command = device.command(env!("CARGO_BIN_EXE_sonotune"));
    // Tests run beside each other, and kernels this small gain nothing from threads.
    let output = command.env("OMP_NUM_THREADS", "1").args(args).output().unwrap();
    let statistics = file.exists().then(|| Statistics::read(&file));
    (output, statistics)
}

/// The same on a machine where nothing is wrong; the program must end well, use the device, and make no
/// mistake with it.
#[track_caller]
pub(crate) fn on_cuda(args: &[&str]) -> Statistics {
    let (output, statistics) = on(&Device::new(), args);
    assert_success(&output);
    let statistics = statistics.expect("the program did not open the device");
    assert!(statistics.problems.is_empty(), "{args:?}: {:?}", statistics.problems);
    assert!(statistics.num_launches() > 0, "{args:?}: nothing was computed on the device");
    statistics
}

/// A tiny run of `task` on the device, with its files in `folder`.
pub(crate) fn tiny(folder: &Path, task: &str) -> Tiny {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).task(task);
    let tiny = tiny.with("dataset.test = \"annotations/test.json\"\nlogging.num_images = 0");
    tiny.set("device = \"cuda\"")
}
