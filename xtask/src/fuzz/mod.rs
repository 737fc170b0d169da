//! `cargo xtask check --fuzz`: hostile input for every reader of user input, for a short time.

mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use self::report::{Outcome, table};
use crate::{process, setup, stages::Stages, workspace};

/// Seeds of each target in addition to its folder in `tests/fixtures/hostile`, and its dictionary.
const SEEDS: &[(&str, &str, &[&str])] = &[
    ("archives", "archives", &[]),
    ("arrays", "arrays", &["tests/fixtures/curation/arrays"]),
    ("coco_dataset", "json", &[]),
    ("coco_file", "json", &[]),
    ("coco_results", "json", &[]),
    ("config", "toml", &["configs/demo", "configs/base"]),
    ("dicom", "", &["tests/fixtures/dicom"]),
    ("hdf5", "", &["tests/fixtures/curation/hdf5"]),
    ("images", "images", &["tests/fixtures/preprocess"]),
    ("list_file", "", &[]),
    ("pickle", "pickle", &["tests/fixtures/weights"]),
    ("polygons", "", &[]),
    ("prompt_file", "json", &[]),
    ("rle", "", &[]),
    ("safetensors", "safetensors", &["tests/fixtures/weights"]),
    ("scores", "", &[]),
    ("spec", "toml", &["configs/us43d/datasets"]),
    ("torch_pth", "pickle", &["tests/fixtures/weights"]),
    ("video", "video", &["tests/fixtures/curation/video", "tests/fixtures/curation/clips"]),
    ("volumes", "volumes", &["tests/fixtures/curation/volumes"]),
];

/// Targets whose formats allow a file of a few bytes to claim an image of 100 megapixels, with the
/// megabytes that they may therefore take. HDF5 lets a chunk claim 4 GB, which its reader reserves
/// (but does not touch) before it finds them missing.
const LARGE: &[(&str, u32)] = &[("dicom", 2048), ("video", 1024), ("volumes", 512), ("hdf5", 8192)];

const MEMORY_MB: u32 = 256;

/// Fuzzes every target, or the named one, for the given number of seconds each.
///
/// # Errors
/// If something is missing (says how to install it), if the targets do not compile, and if there is
/// a finding: names its file and the command that reproduces it.
pub(crate) fn run(seconds: u64, only: Option<&str>) -> Result<()> {
    let targets: Vec<_> =
        SEEDS.iter().filter(|(name, ..)| only.is_none_or(|only| only == *name)).collect();
    if targets.is_empty() {
        let names: Vec<_> = SEEDS.iter().map(|(name, ..)| *name).collect();
        bail!("there is no target {}; targets: {}", only.unwrap_or_default(), names.join(", "));
    }
    ensure_tools()?;
    let mut stages = Stages::new();
    stages.run("set-up", || setup::ensure_libtorch().map(|_| ()))?;
    let built = stages.run("build the fuzz targets", build)?;
    let scratch = scratch()?;
    let mut outcomes = Vec::new();
    for (name, dictionary, folders) in targets {
        let what = format!("fuzz {name}");
        let outcome = stages.run(&what, || {
            let mut command = fuzzer(&built.join(name), seconds, scratch.path());
            limit_memory(&mut command, name);
            inputs(&mut command, name, dictionary, folders)?;
            follow(name, command)
        })?;
        outcomes.push(outcome);
    }
    stages.summary();
    println!("\n{}", table(&outcomes));
    ensure_no_finding(&outcomes)
}

/// Nightly Rust instruments the code; cargo-fuzz passes the required options.
fn ensure_tools() -> Result<()> {
    let answers = |args: &[&str]| {
        let output = nightly().args(args).output();
        output.is_ok_and(|output| output.status.success())
    };
    let mut missing = Vec::new();
    if !answers(&["--version"]) {
        missing.push("nightly Rust: rustup toolchain install nightly --profile minimal");
    } else if !answers(&["fuzz", "--version"]) {
        missing.push("cargo-fuzz: cargo install cargo-fuzz");
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("fuzzing needs {}", missing.join("\n  and "))
}

/// Cargo of the nightly toolchain. Only rustup's Cargo understands `cargo +nightly`, and we run under
/// that of a toolchain.
fn nightly() -> Command {
    let mut command = Command::new("rustup");
    process::without_cargo_run(&mut command);
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command.args(["run", "nightly", "cargo"]).current_dir(workspace::root());
    command
}

/// The folder of the built targets.
///
/// No sanitizer: the fuzzed code is safe Rust, and libtorch is not built with one.
fn build() -> Result<PathBuf> {
    process::run(nightly().args(["fuzz", "build", "--sanitizer", "none"]))?;
    let host = process::output(Command::new("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not name its host")?;
    Ok(workspace::root().join("fuzz/target").join(host).join("release"))
}

/// A folder for the files that targets write: in memory if the system supports it.
fn scratch() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new()
        .prefix("sonotune-fuzz")
        .tempdir_in(&folder)
        .with_context(|| format!("cannot make a folder in {}", folder.display()))
}

fn fuzzer(target: &Path, seconds: u64, scratch: &Path) -> Command {
    let mut command = Command::new(target);
    command
        .arg(format!("-max_total_time={seconds}"))
        // Seconds that a single input may take.
        .args(["-timeout=10", "-print_final_stats=1", "-use_value_profile=0"])
        // libtorch alone takes about 300 MB.
        .args(["-rss_limit_mb=2048", "-len_control=20", "-max_len=65536"])
        .env("TMPDIR", scratch)
        .env("OMP_NUM_THREADS", "1")
        .current_dir(workspace::root())
        .stderr(Stdio::piped());
    command
}

fn limit_memory(command: &mut Command, name: &str) {
    let limit = LARGE.iter().find(|(large, _)| *large == name).map_or(MEMORY_MB, |(_, mb)| *mb);
    command.env("SONOTUNE_FUZZ_MEMORY_MB", limit.to_string());
}

/// Folders of the corpus, of the seeds, and of findings.
fn inputs(command: &mut Command, name: &str, dictionary: &str, folders: &[&str]) -> Result<()> {
    let root = workspace::root();
    for folder in [format!("fuzz/corpus/{name}"), format!("fuzz/artifacts/{name}")] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    command.env("SONOTUNE_FUZZ_PANICS", format!("fuzz/artifacts/{name}/caught_panics.txt"));
    command.arg(format!("-artifact_prefix=fuzz/artifacts/{name}/"));
    if !dictionary.is_empty() {
        command.arg(format!("-dict=fuzz/dictionaries/{dictionary}.dict"));
    }
    command.arg(format!("fuzz/corpus/{name}"));
    command.arg(format!("tests/fixtures/hostile/{name}")).args(folders);
    Ok(())
}

fn follow(name: &str, mut command: Command) -> Result<Outcome> {
    let line = process::line(&command);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let outcome = Outcome::of(name, &text, output.status.success());
    if !output.status.success() {
        let tail: Vec<_> = text.lines().rev().take(40).collect();
        eprintln!("{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(outcome)
}

fn ensure_no_finding(outcomes: &[Outcome]) -> Result<()> {
    let findings: Vec<_> = outcomes.iter().filter_map(Outcome::finding_words).collect();
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} of {} targets failed\n{}", findings.len(), outcomes.len(), findings.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names of the files in a folder without their ending.
    fn stems(folder: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(workspace::root().join(folder)).unwrap().flatten();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
        entries.map(|entry| stem(entry.path())).collect()
    }

    #[test]
    fn every_target_has_seeds_and_every_dictionary_its_target() {
        let names: BTreeSet<String> = SEEDS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(names, stems("fuzz/fuzz_targets"));
        let dictionaries = SEEDS.iter().map(|(_, dictionary, _)| (*dictionary).to_owned());
        let dictionaries: BTreeSet<String> = dictionaries.filter(|name| !name.is_empty()).collect();
        assert_eq!(dictionaries, stems("fuzz/dictionaries"));
        for (name, _, folders) in SEEDS {
            let hostile = format!("tests/fixtures/hostile/{name}");
            for folder in folders.iter().copied().chain([hostile.as_str()]) {
                assert!(workspace::root().join(folder).is_dir(), "{folder}");
            }
        }
        assert!(LARGE.iter().all(|(name, _)| names.contains(*name)));
    }
}
