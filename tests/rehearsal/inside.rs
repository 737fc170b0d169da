//! Tests that compute on the device themselves: each in a process of its own, since libraries are found and
//! settings read when a process starts, and since some are meant to die.

use std::process::Output;

use crate::{Device, Statistics};

/// Names the test whose body the process shall run.
const TEST: &str = "REHEARSAL_TEST";

/// How the process ended.
#[derive(Debug)]
pub struct Outcome {
    pub output: Output,
    /// `None` if it ended without writing them.
    pub statistics: Option<Statistics>,
}

impl Outcome {
    /// Its standard error and output.
    #[must_use]
    pub fn text(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&self.output.stderr) + &text(&self.output.stdout)
    }

    /// The statistics of a body that did not panic.
    #[must_use]
    #[track_caller]
    pub fn success(self) -> Statistics {
        assert!(self.output.status.success(), "{}", self.text());
        self.statistics.expect("a process that ended well wrote its statistics")
    }
}

/// Runs the body of a test on `device`. It starts the test once more, in a new process; there the body runs
/// after `load`, which opens libtorch's CUDA half, and the result is `None`, upon which the test must return.
pub fn inside<F: FnOnce()>(device: &Device, load: fn(), body: F) -> Option<Outcome> {
    // `crate::module::test::{{closure}}`: the test's name is what comes after the crate's.
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    if std::env::var(TEST).as_deref() == Ok(name) {
        load();
        body();
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("statistics.jsonl");
    let output = device
        .clone()
        .statistics(&file)
        .command(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(TEST, name)
        .output()
        .unwrap();
    let ran = String::from_utf8_lossy(&output.stdout).contains("running 1 test");
    assert!(ran, "{name} is no test");
    let statistics = file.exists().then(|| Statistics::read(&file));
    Some(Outcome { output, statistics })
}
