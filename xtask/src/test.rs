//! `cargo xtask test`: everything that can be tested on this machine, in one command.

use std::{
    io::BufReader,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    process,
    python::{self, Environment, PYTHON_VARIABLE},
    setup,
    stages::Stages,
    test_output::{self, Summary},
    torchrun,
};

#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Only tests whose path contains this.
    filter: Option<String>,
}

pub(crate) fn run(args: &TestArgs) -> Result<()> {
    let mut stages = Stages::new();
    stages.run("set-up", || setup::ensure_libtorch().map(|_| ()))?;
    let result = test(&mut stages, args.filter.as_deref());
    stages.summary();
    report(result?)
}

/// Builds and runs the tests; libtorch must be available.
///
/// # Errors
/// If they do not compile, or cannot be run. Failed tests are in the summary.
pub(crate) fn test(stages: &mut Stages, filter: Option<&str>) -> Result<Outcome> {
    let python = stages.run("Python packages for the tests", || Ok(python()))?;
    stages.run("torchrun for the tests", || {
        if let Err(error) = torchrun::lay() {
            eprintln!("none; the tests that need it are skipped: {error:#}");
        }
        Ok(())
    })?;
    stages.run("build the tests", || process::run(&mut cargo_test(&["--no-run"])))?;
    stages.run("run the tests", || {
        // Without --no-fail-fast the first crate with a failure would hide failures in the others.
        let mut tests = cargo_test(&["--no-fail-fast", "--", "--show-output"]);
        tests.args(filter).stdout(Stdio::piped());
        // Tests run in parallel: if OpenMP threads spin while they wait for one another on the same
        // cores, a second of work on tiny tensors takes a minute.
        tests.env("OMP_WAIT_POLICY", "PASSIVE");
        if let Some(python) = python {
            tests.env(PYTHON_VARIABLE, python);
        }
        follow(&mut tests)
    })
}

/// Prints what was skipped, and fails if tests failed.
///
/// # Errors
/// If a test failed.
pub(crate) fn report(outcome: Outcome) -> Result<()> {
    println!("\n{}", outcome.summary);
    outcome.result
}

/// Figures of a run, and whether Cargo succeeded.
pub(crate) struct Outcome {
    summary: Summary,
    result: Result<()>,
}

fn cargo_test(args: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(["test", "--workspace"]).args(args);
    command
}

fn follow(tests: &mut Command) -> Result<Outcome> {
    let mut child =
        tests.spawn().with_context(|| format!("cannot run `{}`", process::line(tests)))?;
    let output = child.stdout.take().context("the tests' output is not piped")?;
    let summary = test_output::follow(BufReader::new(output), std::io::stdout().lock())?;
    let status = child.wait().context("waiting for the tests")?;
    Ok(Outcome { summary, result: process::ensure_success(tests, status) })
}

/// A Python with the packages that the tests read results back with, if available; without it, tests
/// that need it are skipped with a reason.
fn python() -> Option<PathBuf> {
    let chosen = python::chosen().map(Ok).unwrap_or_else(|| Environment::Test.lay());
    match chosen {
        Ok(python) => {
            eprintln!("{PYTHON_VARIABLE}: {}", python.display());
            Some(python)
        }
        Err(error) => {
            eprintln!("none; the tests that need one are skipped: {error:#}");
            None
        }
    }
}
