//! The wheel's program and its part with NCCL: compiled as ever, linked for older machines.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::old_linux::OldLinux;
use crate::{elf::Needs, libtorch::Libtorch, package, process, workspace};

/// Where the program finds libtorch, from `site-packages/sonotune/bin`.
pub(super) const RUN_PATH: &str = "$ORIGIN/../../torch/lib";

/// What Cargo built.
pub(super) struct Built {
    pub(super) program: PathBuf,
    /// As it is linked for this machine.
    nccl: Option<PathBuf>,
}

/// Builds `sonotune` with this profile of Cargo. Everything but the last link is shared with the usual build, whose
/// program stays as it is.
///
/// # Errors
/// If it does not compile, or the result searches folders of this machine.
pub(super) fn build(old: &OldLinux, profile: &str) -> Result<Built> {
    let target = workspace::target_dir();
    let mut build = process::cargo();
    build.args(["rustc", "--profile", profile, "--bin", "sonotune", "--target-dir"]);
    build.arg(target.join("wheel")).env("CARGO_BUILD_BUILD_DIR", &target);
    let linker = format!("linker={}", old.linker().display());
    let rustc = ["-C".into(), linker.into()];
    let (built, nccl) = process::cargo_rustc(&mut build, &rustc, package::NCCL_VARIABLE)?;
    let program = package::program(built)?;
    let run_path = Needs::of(&program)?.run_path;
    ensure!(
        run_path == [Path::new(RUN_PATH)],
        "{} searches {run_path:?} for libtorch, not only {RUN_PATH}",
        program.display()
    );
    Ok(Built { program, nccl: nccl.map(PathBuf::from) })
}

/// Links the part with NCCL into `folder` as well, if this build has one.
///
/// # Errors
/// If the compiler fails.
pub(super) fn nccl(
    old: &OldLinux,
    built: &Built,
    libtorch: &Libtorch,
    folder: &Path,
) -> Result<()> {
    let Some(built) = &built.nccl else { return Ok(()) };
    let object = built.with_extension("o");
    ensure!(object.is_file(), "{} was built, but {} is missing", built.display(), object.display());
    let site = libtorch.dir.parent().context("libtorch is at the root")?;
    let search = [libtorch.dir.join("lib"), site.join("nvidia/cu13/lib")];
    let needed = ["-ltorch_cuda", "-ltorch_cpu", "-lc10_cuda", "-lc10", "-l:libcudart.so.13"];
    let search = search.each_ref().map(PathBuf::as_path);
    let out = folder.join(package::NCCL_LIBRARY);
    old.shared(&object, &search, &needed, &out)?;
    package::strip(&out)?;
    let run_path = Needs::of(&out)?.run_path;
    // The program has loaded its libraries before.
    if !run_path.is_empty() {
        bail!("{} has a run path, {run_path:?}, which it does not need", out.display());
    }
    Ok(())
}
