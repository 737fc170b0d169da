//! `cargo xtask check`: what must hold before a change goes in, cheapest first.

use std::process::Command;

use anyhow::Result;

use crate::{process, setup, stages::Stages, test};

pub(crate) fn run() -> Result<()> {
    let mut stages = Stages::new();
    let result = checks(&mut stages);
    stages.summary();
    test::report(result?)
}

fn checks(stages: &mut Stages) -> Result<test::Outcome> {
    stages.run("formatting", || process::run(&mut cargo(&["fmt", "--all", "--check"])))?;
    stages.run("set-up", || setup::ensure_libtorch().map(|_| ()))?;
    stages.run("lints", || {
        process::run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    stages.run("documentation", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
        process::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    test::test(stages, None)
}

fn cargo(args: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(args);
    command
}
