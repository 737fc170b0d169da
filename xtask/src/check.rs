//! `cargo xtask check`: what must hold before a change goes in, cheapest first.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{fuzz, gate, process, setup, stages::Stages, test, workspace};

/// Nothing that people write or a test needs is larger; a core dump, a dataset or a checkpoint is.
const LARGEST_TRACKED_FILE: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Fuzz every reader of files instead, for this many seconds each [default: 20]. Needs nightly Rust and
    /// cargo-fuzz.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "20")]
    fuzz: Option<u64>,
    /// Only this target.
    #[arg(long, value_name = "NAME", requires = "fuzz")]
    target: Option<String>,
}

pub(crate) fn run(args: &CheckArgs) -> Result<()> {
    if let Some(seconds) = args.fuzz {
        return fuzz::run(seconds, args.target.as_deref());
    }
    let mut stages = Stages::new();
    let result = checks(&mut stages);
    stages.summary();
    test::report(result?)
}

fn checks(stages: &mut Stages) -> Result<test::Outcome> {
    stages.run("sizes of tracked files", ensure_small_files)?;
    stages.run("directions, cycles, sizes and words", || gate::ensure(&workspace::root()))?;
    stages.run("formatting", || {
        process::run(&mut cargo(&["fmt", "--all", "--check"]))?;
        let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
        process::run(&mut cargo(&fuzz))
    })?;
    stages.run("set-up", || setup::ensure_libtorch().map(|_| ()))?;
    stages.run("lints", || {
        let deny = ["--", "-D", "warnings"];
        process::run(cargo(&["clippy", "--workspace", "--all-targets"]).args(deny))
    })?;
    stages.run("documentation", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
        process::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    test::test(stages, None)
}

/// # Errors
/// When Git tracks a file that belongs into no commit, whose name it gives, and when Git cannot be run.
fn ensure_small_files() -> Result<()> {
    let root = workspace::root();
    if !root.join(".git").exists() {
        // Unpacked from an archive: nothing is committed from here.
        return Ok(());
    }
    let listed = process::output(Command::new("git").args(["ls-files", "-z"]).current_dir(&root))?;
    for name in listed.split_terminator('\0') {
        // A file that is deleted and not yet committed has no size.
        let bytes = root.join(name).metadata().map_or(0, |metadata| metadata.len());
        if bytes > LARGEST_TRACKED_FILE {
            bail!(
                "Git tracks {name}, which has {bytes} bytes; a file may have {LARGEST_TRACKED_FILE}. \
                 If it came by mistake: git rm --cached {name}"
            );
        }
    }
    Ok(())
}

fn cargo(args: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(args);
    command
}
