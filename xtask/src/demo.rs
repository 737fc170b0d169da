//! `cargo xtask demo`: set-up, build, and `sonotune demo` with the program that was built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{package, process, setup, stages::Stages, workspace};

/// The file by which `sonotune demo` knows its folder (src/demo/folder.rs).
const MARKER: &str = ".sonotune-demo";

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Only two steps on a few images: checks that everything runs, not that it learns.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// The long demo: larger sets, more steps, three seeds. About 40 minutes on two cores.
    #[arg(long)]
    full: bool,
    /// Number of seeds for each kind of start. Default: 1, with --full 3.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// The demo's own folder; results of an earlier demo there are replaced.
    #[arg(long, default_value = "runs/demo")]
    out: PathBuf,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// A `sonotune` to use instead of building one.
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    // Refused before minutes of building, not after.
    ensure_ours(&workspace::root().join(&args.out))?;
    let binary = match &args.binary {
        // The demo runs in the repository's root, wherever it was started.
        Some(binary) => std::path::absolute(binary).context("--binary")?,
        None => {
            let mut stages = Stages::new();
            stages.run("set-up", || setup::ensure_libtorch().map(|_| ()))?;
            let binary = stages.run("build", package::build_release)?;
            stages.summary();
            binary
        }
    };
    let mut command = Command::new(binary);
    command.arg("demo").args(options(args)).current_dir(workspace::root());
    process::without_cargo_run(&mut command);
    eprintln!("$ {}", process::line(&command));
    process::run(&mut command)
}

/// The options of `sonotune demo`.
fn options(args: &DemoArgs) -> Vec<String> {
    let mut options = vec![format!("--out={}", args.out.display())];
    let flags = [("--quick", args.quick), ("--full", args.full), ("--json", args.json)];
    options.extend(flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag.to_owned()));
    options.extend(args.seeds.map(|seeds| format!("--seeds={seeds}")));
    options
}

/// Refuses a folder that holds something else.
fn ensure_ours(folder: &Path) -> Result<()> {
    let Ok(mut entries) = fs::read_dir(folder) else { return Ok(()) };
    ensure!(
        entries.next().is_none() || folder.join(MARKER).is_file(),
        "{} exists and was not created by the demo; move it away, or choose another --out",
        folder.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demo_s_own_folder_is_used() {
        let home = tempfile::tempdir().unwrap();
        ensure_ours(&home.path().join("absent")).unwrap();
        ensure_ours(home.path()).unwrap();
        fs::write(home.path().join("thesis.tex"), "").unwrap();
        let error = ensure_ours(home.path()).unwrap_err().to_string();
        assert!(error.contains("not created by the demo"), "{error}");
        fs::write(home.path().join(MARKER), "").unwrap();
        ensure_ours(home.path()).unwrap();
    }

    #[test]
    fn options_are_passed_on() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            demo: DemoArgs,
        }
        let of = |words: &[&str]| {
            let cli: Cli = clap::Parser::parse_from([&["x"], words].concat());
            options(&cli.demo)
        };
        assert_eq!(of(&[]), ["--out=runs/demo"]);
        assert_eq!(
            of(&["--full", "--seeds", "2", "--json", "--out", "a b"]),
            ["--out=a b", "--full", "--json", "--seeds=2"]
        );
    }
}
