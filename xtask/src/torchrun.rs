//! torchrun for tests, from the torch package that the project's libtorch came in: no second torch is
//! downloaded.
//!
//! Its Python module is linked against CUDA's libraries, which libtorch for the CPU is installed without. None
//! of their functions is called, so that libraries which define their names are enough to load it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    libtorch, process,
    python::{pip, runs},
    setup::WHEEL_PYTHON,
    workspace,
};

/// What `torch.distributed.run` imports beside torch.
const PACKAGES: [&str; 7] = [
    "filelock",
    "fsspec",
    "jinja2",
    "networkx",
    "setuptools<82",
    "sympy>=1.13.3",
    "typing-extensions>=4.10",
];
/// Functions of CUDA's libraries start with these.
const CUDA_NAMES: [&str; 4] = ["cu", "nccl", "nv", "__cu"];
/// Written last: a folder without it was interrupted.
const LAID_FILE: &str = "sonotune-torchrun.txt";

/// Creates its environment, unless it exists; returns its Python.
///
/// # Errors
/// If there is no Python of the version that the package is for, or no binutils; if pip or the C compiler fail.
pub(crate) fn lay() -> Result<PathBuf> {
    let torch = libtorch::of_the_project()?.context("it is part of the project's own libtorch")?;
    let dir = workspace::python_dir().join("torchrun");
    let python = dir.join("bin/python");
    let content = format!("{} {}\n{}", torch.version, torch.cuda, PACKAGES.join("\n"));
    let laid = fs::read_to_string(dir.join(LAID_FILE));
    if laid.is_ok_and(|laid| laid == content) && runs(&python) {
        return Ok(python);
    }
    let _lock = workspace::lock(&workspace::python_dir(), "torchrun.lock")?;
    workspace::clear(&dir)?;
    process::run(Command::new(base()?).args(["-m", "venv"]).arg(&dir))?;
    process::run(pip(&python).args(["install", "--quiet", "--retries", "1"]).args(PACKAGES))?;
    let site = torch.dir.parent().context("libtorch is at the root")?;
    let mut lines = format!("{}\n", site.display());
    if !torch.cuda {
        let names = dir.join("cuda-names");
        name_cuda(&torch.dir.join("lib"), &names)?;
        lines += &format!(
            "import ctypes, glob; [ctypes.CDLL(library, ctypes.RTLD_GLOBAL) for library in \
             sorted(glob.glob({:?}))]\n",
            names.join("*").display().to_string()
        );
    }
    let place = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let packages = process::output(Command::new(&python).args(["-c", place]))?;
    let file = Path::new(packages.trim()).join("sonotune.pth");
    fs::write(&file, lines).with_context(|| format!("cannot write {}", file.display()))?;
    process::output(Command::new(&python).args(["-c", "import torch.distributed.run"]))?;
    fs::write(dir.join(LAID_FILE), content)
        .with_context(|| format!("cannot write into {}", dir.display()))?;
    Ok(python)
}

/// A Python of the version that the package is for.
fn base() -> Result<PathBuf> {
    let version = "import sys; print('%d.%d' % sys.version_info[:2])";
    let is_right = |python: &PathBuf| {
        let said = process::output(Command::new(python).args(["-c", version]));
        said.is_ok_and(|said| said.trim() == WHEEL_PYTHON)
    };
    let named = format!("python{WHEEL_PYTHON}");
    let candidates = [named.as_str(), "python3", "python"].map(PathBuf::from);
    let found = candidates.into_iter().find(is_right);
    found.with_context(|| {
        format!("there is no Python {WHEEL_PYTHON}, which libtorch's package is for")
    })
}

/// Writes a library for each one that those in `libraries` need and that is missing.
fn name_cuda(libraries: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let present = present(libraries)?;
    let (mut needed, mut used, mut defined) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for library in &present {
        let read = |program: &str, arguments: &[&str]| {
            process::output(Command::new(program).args(arguments).arg(library))
        };
        needed.extend(needed_in(&read("readelf", &["--dynamic", "--wide"])?));
        used.extend(symbols_in(&read("nm", &["--dynamic", "--undefined-only"])?));
        defined.extend(symbols_in(&read("nm", &["--dynamic", "--defined-only"])?));
    }
    let is_there = |name: &String| present.iter().any(|path| path.ends_with(name));
    let missing: Vec<_> = needed.iter().filter(|name| !is_there(name)).collect();
    let Some((first, rest)) = missing.split_first() else { return Ok(()) };
    let names = used.difference(&defined).map(|name| format!("void {name}(void) {{ abort(); }}\n"));
    compile(&format!("#include <stdlib.h>\n{}", names.collect::<String>()), first, out)?;
    rest.iter().try_for_each(|name| compile("", name, out))
}

/// The libraries of torch, and of NVIDIA's packages beside it.
fn present(libraries: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![libraries.to_owned()];
    let nvidia = libraries.join("../../nvidia");
    let packages = fs::read_dir(&nvidia).into_iter().flatten().flatten();
    folders.extend(packages.map(|package| package.path().join("lib")));
    let mut present = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = entries.with_context(|| format!("cannot list {}", folder.display()))?;
        present.extend(entries.iter().map(fs::DirEntry::path));
    }
    present.retain(|path| path.is_file() && path.to_string_lossy().contains(".so"));
    ensure!(!present.is_empty(), "{} has no libraries", libraries.display());
    Ok(present)
}

/// CUDA's libraries among those that `readelf` says are needed.
fn needed_in(dynamic: &str) -> Vec<String> {
    let names = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    let names = names.filter_map(|line| line.split_once('[')?.1.strip_suffix(']'));
    let is_cudas = |name: &&str| {
        name.strip_prefix("lib").is_some_and(|name| CUDA_NAMES.iter().any(|n| name.starts_with(n)))
    };
    names.filter(is_cudas).map(str::to_owned).collect()
}

/// Names of CUDA's functions in what `nm` prints, without their versions.
fn symbols_in(names: &str) -> Vec<String> {
    let names = names.lines().filter_map(|line| line.split_whitespace().last());
    let names = names.map(|name| name.split('@').next().unwrap_or(name));
    let is_c = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_cudas = |name: &&str| CUDA_NAMES.iter().any(|start| name.starts_with(start));
    names.filter(is_c).filter(is_cudas).map(str::to_owned).collect()
}

fn compile(source: &str, name: &str, out: &Path) -> Result<()> {
    let file = out.with_extension("c");
    fs::write(&file, source).with_context(|| format!("cannot write {}", file.display()))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-w"]).arg(&file).arg("-o").arg(out.join(name));
    compiler.arg(format!("-Wl,-soname,{name}"));
    if let Err(error) = process::output(&mut compiler) {
        bail!("cannot compile {name}: {error:#}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_read_from_the_tools() {
        let dynamic = " 0x0000000000000001 (NEEDED)   Shared library: [libcublas.so.13]\n \
                       0x0000000000000001 (NEEDED)   Shared library: [libc.so.6]\n \
                       0x000000000000000f (RPATH)    Library rpath: [$ORIGIN]\n";
        assert_eq!(needed_in(dynamic), ["libcublas.so.13"]);
        let names = "                 U cublasCreate_v2@libcublas.so.13\n                 U \
                     malloc@GLIBC_2.2.5\n0000000000001000 T ncclSend\n                 U _ZN2cu1xEv\n";
        assert_eq!(symbols_in(names), ["cublasCreate_v2", "ncclSend"]);
    }
}
