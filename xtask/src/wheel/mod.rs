//! `cargo xtask wheel`: a package for pip, pipx and uv, whose program computes with the libtorch of the `torch` that
//! they install with it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    elf::Needs,
    libtorch::{self, Libtorch},
    package, process, python, setup,
    stages::Stages,
    workspace,
};

mod licences;
mod old_linux;
mod program;
mod symbols;
mod tag;
#[cfg(test)]
mod tests;

use old_linux::OldLinux;

#[derive(Debug, clap::Args)]
pub(crate) struct WheelArgs {
    /// Folder for the wheel.
    #[arg(long, default_value = "dist")]
    out: PathBuf,
    /// Cargo's profile to build with.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// The largest release; a program for development is larger.
const LIMIT_BYTES: u64 = 20_000_000;
const PACK: &str = include_str!("../../assets/wheel/pack.py");
/// Files of the Python package.
const PACKAGE: [(&str, &str); 3] = [
    ("__init__.py", include_str!("../../assets/wheel/__init__.py")),
    ("__main__.py", include_str!("../../assets/wheel/__main__.py")),
    ("launcher.py", include_str!("../../assets/wheel/launcher.py")),
];
const METADATA: &str = include_str!("../../assets/wheel/METADATA");
const ENTRY_POINTS: &str = "[console_scripts]\nsonotune = sonotune.launcher:main\n";
const SUMMARY: &str =
    "Turns a pretrained ultrasound foundation model into a working model for your own task";

pub(crate) fn run(args: &WheelArgs) -> Result<()> {
    let mut stages = Stages::new();
    let out = std::path::absolute(&args.out).context("the folder for the wheel")?;
    let libtorch = stages.run("set-up", setup::ensure_libtorch)?;
    let folder = workspace::target_dir().join("wheel");
    let site = folder.join("site");
    stages.run("build", || {
        let old = OldLinux::make(&folder.join("old-linux"), program::RUN_PATH)?;
        let built = program::build(&old, &args.profile)?;
        workspace::clear(&site)?;
        let bin = lay_package(&site, &built.program)?;
        program::nccl(&old, &built, &libtorch, &bin)?;
        tag::ensure_promised(&needs(&bin)?)?;
        ensure_starts(&site, &libtorch)?;
        package::shell_files(&bin.join("sonotune"), &share(&site))
    })?;
    let wheel = stages.run("pack", || {
        let wheel = pack(&site, &needs_with_libtorch(&site, &libtorch)?, &out, 9)?;
        let size = fs::metadata(&wheel).context("the wheel's size")?.len();
        ensure!(
            size < LIMIT_BYTES || args.profile != "release",
            "{} takes {size} bytes; it must stay below {LIMIT_BYTES}",
            wheel.display()
        );
        println!("{} ({:.1} MB)", workspace::shown(&wheel), size as f64 / 1e6);
        Ok(wheel)
    })?;
    println!(
        "install it with any of\n    pip install {0}\n    pipx install {0}\n    uv tool install {0}",
        workspace::shown(&wheel)
    );
    Ok(())
}

/// Lays `sonotune/` below `site`, as it will be in site-packages; returns its `bin`.
fn lay_package(site: &Path, program: &Path) -> Result<PathBuf> {
    let package = site.join("sonotune");
    let bin = package.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    for (name, text) in PACKAGE {
        write(&package.join(name), &filled(text))?;
    }
    let target = bin.join("sonotune");
    package::copy(program, &target)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", target.display()))?;
    package::strip(&target)?;
    Ok(bin)
}

/// What pip lays below the environment's own `share`.
fn share(site: &Path) -> PathBuf {
    site.join(format!("sonotune-{}.data/data/share", env!("CARGO_PKG_VERSION")))
}

/// What the files in `bin` need together.
fn needs(bin: &Path) -> Result<Needs> {
    let mut needs = Needs::default();
    for entry in fs::read_dir(bin).with_context(|| format!("cannot list {}", bin.display()))? {
        needs.merge(&Needs::of(
            &entry.with_context(|| format!("cannot list {}", bin.display()))?.path(),
        )?);
    }
    Ok(needs)
}

/// What the package needs, and libtorch, without which it does not start.
fn needs_with_libtorch(site: &Path, libtorch: &Libtorch) -> Result<Needs> {
    let mut needs = needs(&site.join("sonotune/bin"))?;
    for library in ["libtorch_cpu.so", "libc10.so"] {
        needs.merge(&Needs::of(&libtorch.dir.join("lib").join(library))?);
    }
    Ok(needs)
}

/// Writes what pip reads about the package, and packs both, compressed by `level` (0 to 9); returns the wheel's path.
fn pack(site: &Path, needs: &Needs, out: &Path, level: u8) -> Result<PathBuf> {
    let version = env!("CARGO_PKG_VERSION");
    let tag = format!("py3-none-{}", tag::of(needs)?);
    let info = site.join(format!("sonotune-{version}.dist-info"));
    let licences = info.join("licenses");
    fs::create_dir_all(&licences).with_context(|| format!("cannot make {}", licences.display()))?;
    write(&info.join("METADATA"), &filled(METADATA))?;
    write(&info.join("entry_points.txt"), ENTRY_POINTS)?;
    let wheel = format!(
        "Wheel-Version: 1.0\nGenerator: cargo xtask wheel ({version})\nRoot-Is-Purelib: false\nTag: {tag}\n"
    );
    write(&info.join("WHEEL"), &wheel)?;
    write(&licences.join("THIRD-PARTY.txt"), &licences::third_party()?)?;
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        package::copy(&workspace::root().join(name), &licences.join(name))?;
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let wheel = out.join(format!("sonotune-{version}-{tag}.whl"));
    let partial = wheel.with_extension("partial");
    // Nothing but the package: libtorch was beside them to try the program.
    let beside = site.join("torch");
    if fs::symlink_metadata(&beside).is_ok() {
        fs::remove_file(&beside).with_context(|| format!("cannot remove {}", beside.display()))?;
    }
    let mut packer = Command::new(python::with_pip()?);
    process::run(packer.args(["-c", PACK]).arg(site).arg(&partial).arg(level.to_string()))?;
    fs::rename(&partial, &wheel)
        .with_context(|| format!("cannot rename {} to {}", partial.display(), wheel.display()))?;
    Ok(wheel)
}

/// A file of the package with the project's facts in it.
fn filled(text: &str) -> String {
    let series = libtorch::SERIES.trim_end_matches('.');
    let next = series
        .rsplit_once('.')
        .and_then(|(major, minor)| Some(format!("{major}.{}", minor.parse::<u32>().ok()? + 1)));
    text.replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@SUMMARY@", SUMMARY)
        .replace("@REPOSITORY@", env!("CARGO_PKG_REPOSITORY"))
        .replace("@SERIES@", series)
        .replace("@NEXT@", &next.unwrap_or_default())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Starts the program where pip would put it, beside torch, with nothing in the environment that leads to libtorch.
fn ensure_starts(site: &Path, libtorch: &Libtorch) -> Result<()> {
    let beside = site.join("torch");
    std::os::unix::fs::symlink(&libtorch.dir, &beside)
        .with_context(|| format!("cannot link {}", beside.display()))?;
    let mut program = Command::new(site.join("sonotune/bin/sonotune"));
    let said = process::output(program.arg("--version").env_remove("LD_LIBRARY_PATH"))
        .context("the wheel's program does not start")?;
    eprintln!("starts: {}", said.trim());
    Ok(())
}
