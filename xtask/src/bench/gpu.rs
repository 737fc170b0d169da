//! `cargo xtask bench gpu`: the bench of `benches/gpu`, started where there is a GPU. That machine needs no
//! compiler: the script is in the bundle, and takes the program from there.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    bundle::{self, BundleArgs},
    package, process, python, setup, workspace,
};

#[derive(Debug, clap::Args)]
pub(crate) struct GpuArgs {
    /// Run everything at tiny sizes, on the CPU unless --device says otherwise: shows within a minute
    /// that each step works, and measures nothing.
    #[arg(long)]
    rehearse: bool,
    /// Device to measure [default: cuda; with --rehearse: cpu].
    #[arg(long)]
    device: Option<String>,
    /// Folder for the results.
    #[arg(long, default_value = "target/bench/gpu")]
    out: PathBuf,
    /// Further arguments of benches/gpu/bench.py.
    #[arg(last = true)]
    more: Vec<OsString>,
}

const SCRIPT: &str = "benches/gpu/bench.py";

pub(super) fn run(args: &GpuArgs) -> Result<()> {
    if args.rehearse {
        return rehearse(args);
    }
    let bundle = bundle::make(&BundleArgs::default())?;
    if !has_gpu(Path::new("/dev")) {
        println!("{}", instructions(&bundle)?);
        return Ok(());
    }
    let mut command = Command::new(python()?);
    command.arg(bundle.join(SCRIPT));
    start(command, args, "cuda")
}

/// The development binary, which builds faster: nothing is measured.
fn rehearse(args: &GpuArgs) -> Result<()> {
    setup::ensure_libtorch()?;
    let program = package::build(&["build", "--bin", "sonotune"])?;
    let mut command = Command::new(python()?);
    command.arg(workspace::root().join(SCRIPT)).arg("--tiny").arg("--program").arg(program);
    start(command, args, "cpu")
}

fn start(mut command: Command, args: &GpuArgs, device: &str) -> Result<()> {
    command.args(["--device", args.device.as_deref().unwrap_or(device)]);
    command.arg("--out").arg(workspace::root().join(&args.out)).args(&args.more);
    process::without_cargo_run(&mut command);
    process::run(&mut command).context(
        "not every step of the bench succeeded; the results, with what failed, are written all the same",
    )
}

fn python() -> Result<PathBuf> {
    python::chosen().map_or_else(python::with_pip, Ok)
}

/// Whether NVIDIA's driver is loaded.
fn has_gpu(devices: &Path) -> bool {
    devices.join("nvidiactl").exists()
}

/// What to type here and on the machine with the GPU.
fn instructions(bundle: &Path) -> Result<String> {
    let name = bundle.file_name().context("the bundle's folder has no name")?.to_string_lossy();
    let folder = bundle.parent().context("the bundle is in no folder")?;
    ensure!(!name.contains(char::is_whitespace), "the bundle's name {name:?} contains spaces");
    Ok(format!(
        "This machine has no NVIDIA GPU. Here:\n\n    \
         tar -czf {name}.tar.gz -C {} {name}\n\n\
         On a machine with one, whose Python has torch 2.11 (no compiler, no network):\n\n    \
         tar -xzf {name}.tar.gz && python3 {name}/{SCRIPT} --out gpu-bench\n\n\
         It takes less than nine minutes and writes gpu-bench/results.md and results.json.",
        workspace::shown(folder)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_name_the_archive_and_the_script_in_it() {
        let text = instructions(&workspace::root().join("dist/sonotune-1-linux-x86_64")).unwrap();
        for part in [
            "tar -czf sonotune-1-linux-x86_64.tar.gz -C ",
            "dist sonotune-1-linux-x86_64\n",
            "python3 sonotune-1-linux-x86_64/benches/gpu/bench.py",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(instructions(Path::new("/home/a b")).is_err());
    }

    #[test]
    fn a_gpu_is_found_by_the_driver_s_device() {
        let devices = tempfile::tempdir().unwrap();
        assert!(!has_gpu(devices.path()));
        std::fs::write(devices.path().join("nvidiactl"), "").unwrap();
        assert!(has_gpu(devices.path()));
    }

    /// Table, budget, operations counted, comparison: everything that needs no program.
    #[test]
    fn the_script_s_own_tests_pass() {
        let script = workspace::root().join("benches/gpu/test_bench.py");
        let mut command = Command::new("python3");
        if command.arg("--version").output().is_err() {
            eprintln!("skipped: there is no python3 to test the bench of the GPU with");
            return;
        }
        let output = Command::new("python3").arg(script).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("OK"), "{said}");
    }
}
