//! What the bundle and the wheel have in common: the release program, and files in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::process::{self, Executable};

/// The part of the program that uses NCCL, which it looks for beside itself.
pub(crate) const NCCL_LIBRARY: &str = "libsonotune_nccl.so";
/// Where the shim's build script says that it put it, if it did.
pub(crate) const NCCL_VARIABLE: &str = "SONOTUNE_NCCL_LIBRARY";

/// Builds the release binary and returns its path.
///
/// # Errors
/// If it does not compile.
pub(crate) fn build_release() -> Result<PathBuf> {
    build(&["build", "--release", "--bin", "sonotune"])
}

/// Builds the binary with these arguments of Cargo and returns its path.
///
/// # Errors
/// If it does not compile.
pub(crate) fn build(arguments: &[&str]) -> Result<PathBuf> {
    let mut build = process::cargo();
    build.args(arguments);
    program(process::cargo_executables(&mut build)?)
}

/// The program among what Cargo has built.
///
/// # Errors
/// If it is not there.
pub(crate) fn program(executables: Vec<Executable>) -> Result<PathBuf> {
    executables
        .into_iter()
        .find(|built| built.name == "sonotune" && built.kind == "bin")
        .map(|built| built.path)
        .context("Cargo built no binary named sonotune")
}

/// What the shim's build script made of the release binary's part with NCCL; `None` if this libtorch is without CUDA.
///
/// # Errors
/// If it does not compile.
pub(crate) fn nccl_library() -> Result<Option<PathBuf>> {
    let mut build = process::cargo();
    build.args(["build", "--release", "--bin", "sonotune"]);
    let path = process::cargo_variable(&mut build, NCCL_VARIABLE)?;
    Ok(path.map(PathBuf::from))
}

/// Removes symbols and debug information from a program or library.
///
/// # Errors
/// If there is no `strip`, or the file is not for it.
pub(crate) fn strip(file: &Path) -> Result<()> {
    process::run(Command::new("strip").arg("--strip-all").arg(file)).with_context(|| {
        format!("cannot strip {} (Debian, Ubuntu: apt install binutils)", file.display())
    })
}

/// Has the program write its man pages and the completions of its command line, in folders as below `/usr/share`.
///
/// # Errors
/// If it does not start, or a file cannot be written.
pub(crate) fn shell_files(program: &Path, share: &Path) -> Result<()> {
    process::output(Command::new(program).arg("man").arg(share.join("man/man1")))?;
    for (shell, file) in [
        ("bash", "bash-completion/completions/sonotune"),
        ("fish", "fish/vendor_completions.d/sonotune.fish"),
        ("zsh", "zsh/site-functions/_sonotune"),
    ] {
        let script = process::output(Command::new(program).args(["completions", shell]))?;
        let file = share.join(file);
        let place = || format!("cannot write {}", file.display());
        fs::create_dir_all(file.parent().with_context(place)?).with_context(place)?;
        fs::write(&file, script).with_context(place)?;
    }
    Ok(())
}

/// Copies a file or an entire folder.
///
/// # Errors
/// Names what cannot be copied where.
pub(crate) fn copy(source: &Path, target: &Path) -> Result<()> {
    let place = || format!("cannot copy {} to {}", source.display(), target.display());
    if source.is_file() {
        return fs::copy(source, target).map(|_| ()).with_context(place);
    }
    fs::create_dir_all(target).with_context(place)?;
    for entry in fs::read_dir(source).with_context(place)? {
        let entry = entry.with_context(place)?;
        // Python's compiled modules are those of this machine's Python.
        if entry.file_name() == "__pycache__" {
            continue;
        }
        copy(&entry.path(), &target.join(entry.file_name()))?;
    }
    Ok(())
}
