//! `cargo xtask setup`: installs a project-local libtorch, completely or not at all.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    libtorch::{self, Libtorch, TORCH_VERSION},
    process,
    python::{self, Environment},
    stages, workspace,
};

#[derive(Debug, clap::Args)]
pub(crate) struct SetupArgs {
    /// With the CUDA libraries (about 5 GB instead of 1.2 GB).
    #[arg(long)]
    cuda: bool,
    /// Also install .python/peers: the Python packages of the benches and of the larger parity tests.
    #[arg(long)]
    python_peers: bool,
}

/// libtorch_cpu.so of the wheel is linked against these two NVIDIA libraries and no others; pip's
/// own choice of dependencies would download 4 GB.
const CPU_PACKAGES: [&str; 2] = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];
/// Any version that PyTorch 2.11 has wheels for: only the C++ libraries are used, which are the same in
/// all, so the installed Python may have another version.
pub(crate) const WHEEL_PYTHON: &str = "3.12";
/// Bytes of the wheels and of their contents, which are temporarily on the disk together.
const CPU_BYTES: u64 = 2_200_000_000;
const CUDA_BYTES: u64 = 9_000_000_000;

pub(crate) fn run(args: &SetupArgs) -> Result<()> {
    let found = ensure(if args.cuda { Kind::Cuda } else { Kind::Cpu })?;
    if args.cuda && !found.cuda {
        bail!("{found}: its CUDA libraries are incomplete");
    }
    if args.python_peers {
        eprintln!("making .python/peers (about 5 GB)");
        eprintln!("peers: {}", workspace::shown(&Environment::Peers.lay()?));
    }
    Ok(())
}

/// The libtorch that builds use, downloaded if there is none; prints what was found.
///
/// # Errors
/// If the user's libtorch cannot be used, or the download fails.
pub(crate) fn ensure_libtorch() -> Result<Libtorch> {
    ensure(Kind::Cpu)
}

fn ensure(kind: Kind) -> Result<Libtorch> {
    let fits = |found: &Libtorch| kind == Kind::Cpu || found.cuda;
    if let Some(found) = libtorch::of_the_user()? {
        ensure!(
            fits(&found),
            "LIBTORCH is set: {found}. It has no CUDA libraries with cuBLAS and cuDNN beside them; \
             set LIBTORCH to one that has, or unset it and run `cargo xtask setup --cuda`"
        );
        eprintln!("LIBTORCH is set: {found}");
        return Ok(found);
    }
    match libtorch::of_the_project() {
        Ok(Some(found)) if fits(&found) => {
            eprintln!("ready: {found}");
            return Ok(found);
        }
        Ok(Some(found)) => eprintln!("{found} is replaced by one with CUDA"),
        Ok(None) => {}
        Err(error) => eprintln!("downloading libtorch again: {error:#}"),
    }
    lay(kind)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cpu,
    Cuda,
}

/// Installs into a folder beside the final one and renames it when it is complete and checked: an
/// interruption leaves the final folder as it was.
fn lay(kind: Kind) -> Result<Libtorch> {
    let started = Instant::now();
    let python = python::with_pip()?;
    let root = workspace::root();
    let lock = workspace::lock(&root, ".libtorch.lock")?;
    let partial = root.join(".libtorch.partial");
    workspace::clear(&partial)?;
    ensure_space(&root, kind)?;
    let size = if kind == Kind::Cpu { "1.2 GB" } else { "about 5 GB" };
    eprintln!("downloading libtorch {TORCH_VERSION} into .libtorch ({size}) with pip");

    install(&python, &partial, kind, &lock).context(
        "pip could not install libtorch; nothing was changed, and you can run `cargo xtask setup` \
         again (the package index is that of your pip configuration)",
    )?;
    let torch = partial.join("torch");
    libtorch::inspect(&torch).context("the libtorch that pip installed is not usable")?;
    ensure_loads(&python, &torch, kind)?;
    replace(&partial, &workspace::libtorch_dir())?;

    let found = libtorch::inspect(&workspace::libtorch_dir().join("torch"))?;
    eprintln!("installed in {}: {found}", stages::shown(started.elapsed()));
    Ok(found)
}

fn install(python: &Path, partial: &Path, kind: Kind, lock: &File) -> Result<()> {
    // pip unpacks into TMPDIR first: that may be a small memory disk, and a killed pip would leave its
    // files there.
    let tmp = partial.join("tmp");
    fs::create_dir_all(&tmp).with_context(|| format!("cannot make {}", tmp.display()))?;
    let mut pip = python::pip(python);
    pip.args(["install", "--only-binary=:all:", "--python-version", WHEEL_PYTHON])
        .arg("--ignore-requires-python")
        .arg("--target")
        .arg(partial)
        .env("TMPDIR", &tmp)
        // The lock must outlive us while pip still writes: pip holds it as its standard input.
        .stdin(Stdio::from(lock.try_clone().context("cannot share the lock with pip")?));
    if kind == Kind::Cpu {
        pip.arg("--no-deps");
    }
    pip.arg(format!("torch=={TORCH_VERSION}"));
    if kind == Kind::Cpu {
        pip.args(CPU_PACKAGES);
    }
    process::run(&mut pip)?;
    workspace::clear(&tmp)
}

/// Loads the libraries once, so that a missing dependency or an outdated C library shows here and not
/// in the first program. The CUDA half loads on a machine without a GPU as well.
fn ensure_loads(python: &Path, torch: &Path, kind: Kind) -> Result<()> {
    let libraries: &[_] = match kind {
        Kind::Cpu => &["libtorch_cpu.so"],
        Kind::Cuda => &["libtorch_cpu.so", "libtorch_cuda.so"],
    };
    for name in libraries {
        let library = torch.join("lib").join(name);
        let script = "import ctypes, sys; ctypes.CDLL(sys.argv[1])";
        process::output(Command::new(python).args(["-c", script]).arg(&library))
            .with_context(|| format!("{} was installed but cannot be loaded", library.display()))?;
    }
    Ok(())
}

/// Replaces `old` by `new`; at every moment one of them is complete.
fn replace(new: &Path, old: &Path) -> Result<()> {
    let aside = old.with_extension("old");
    workspace::clear(&aside)?;
    if fs::symlink_metadata(old).is_ok() {
        fs::rename(old, &aside).with_context(|| format!("cannot move {}", old.display()))?;
    }
    fs::rename(new, old)
        .with_context(|| format!("cannot rename {} to {}", new.display(), old.display()))?;
    workspace::clear(&aside)
}

fn ensure_space(folder: &Path, kind: Kind) -> Result<()> {
    let needed = if kind == Kind::Cpu { CPU_BYTES } else { CUDA_BYTES };
    let free = fs4::available_space(folder)
        .with_context(|| format!("cannot determine the free space at {}", folder.display()))?;
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    ensure!(
        free >= needed,
        "{:.1} GB are free at {}; installing libtorch temporarily takes {:.1} GB. Free some space, or \
         set LIBTORCH to a libtorch 2.11 elsewhere",
        gigabytes(free),
        folder.display(),
        gigabytes(needed)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_keeps_nothing_of_the_old_folder() {
        let home = tempfile::tempdir().unwrap();
        let (old, new) = (home.path().join(".libtorch"), home.path().join(".libtorch.partial"));
        for (folder, file) in [(&old, "old"), (&new, "new")] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(file), "").unwrap();
        }
        replace(&new, &old).unwrap();
        assert!(old.join("new").exists() && !old.join("old").exists() && !new.exists());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_to_a_shared_libtorch_is_replaced_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (shared, old) = (home.path().join("shared"), home.path().join(".libtorch"));
        let new = home.path().join(".libtorch.partial");
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("theirs"), "").unwrap();
        std::os::unix::fs::symlink(&shared, &old).unwrap();
        fs::create_dir(&new).unwrap();
        replace(&new, &old).unwrap();
        assert!(shared.join("theirs").exists() && !old.join("theirs").exists());
    }

    #[test]
    fn with_cuda_both_halves_must_load() {
        let torch = tempfile::tempdir().unwrap();
        let lib = torch.path().join("lib");
        fs::create_dir(&lib).unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        // Any library of this process will do for the one that loads.
        let good = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
        let good = good.into_iter().find(|path| path.contains("/libc.so")).unwrap();
        std::os::unix::fs::symlink(good, lib.join("libtorch_cpu.so")).unwrap();
        fs::write(lib.join("libtorch_cuda.so"), "not a library").unwrap();
        let python = Path::new("python3");
        ensure_loads(python, torch.path(), Kind::Cpu).unwrap();
        let error = format!("{:#}", ensure_loads(python, torch.path(), Kind::Cuda).unwrap_err());
        assert!(error.contains("libtorch_cuda.so was installed but cannot be loaded"), "{error}");
    }
}
