//! `cargo xtask bundle`: a folder that runs without Cargo and without its own libtorch.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    elf::Needs,
    libtorch::{Libtorch, TORCH_VERSION},
    package::{NCCL_LIBRARY, build_release, copy, nccl_library, shell_files, strip},
    process, setup,
    stages::Stages,
    workspace,
};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct BundleArgs {
    /// Folder to create [default: dist/sonotune-VERSION-linux-ARCH].
    out: Option<PathBuf>,
}

const LAUNCHER: &str = include_str!("../assets/sonotune.sh");
const LIMIT_BYTES: u64 = 64 << 20;
/// Files that are bundled.
const DOCUMENTS: [&str; 9] = [
    "configs",
    "docs",
    "integrations",
    "benches/gpu",
    "benches/peers",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

pub(crate) fn run(args: &BundleArgs) -> Result<()> {
    make(args).map(|_| ())
}

/// Makes the folder and returns its path.
///
/// # Errors
/// If the program does not compile, the folder cannot be replaced, or the bundle does not start.
pub(crate) fn make(args: &BundleArgs) -> Result<PathBuf> {
    let mut stages = Stages::new();
    let out = match &args.out {
        Some(out) => std::path::absolute(out).context("the output folder")?,
        None => default_folder(),
    };
    ensure_replaceable(&out)?;
    let libtorch = stages.run("set-up", setup::ensure_libtorch)?;
    let binary = stages.run("build", build_release)?;
    stages.run("bundle", || {
        let partial = out.with_extension("partial");
        workspace::clear(&partial)?;
        fill(&partial, &binary)?;
        let size = ensure_small(&partial)?;
        workspace::clear(&out)?;
        fs::rename(&partial, &out)
            .with_context(|| format!("cannot rename {} to {}", partial.display(), out.display()))?;
        ensure_starts(&out, &libtorch)?;
        println!(
            "{} ({:.1} MiB)\nrun it anywhere with {}/sonotune; the script's head says how it finds libtorch",
            workspace::shown(&out),
            size as f64 / f64::from(1 << 20),
            workspace::shown(&out)
        );
        Ok(())
    })?;
    Ok(out)
}

fn default_folder() -> PathBuf {
    let name = format!("sonotune-{}-linux-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    workspace::root().join("dist").join(name)
}

/// Only a folder that is empty or that we created may be replaced.
fn ensure_replaceable(out: &Path) -> Result<()> {
    let Ok(mut entries) = fs::read_dir(out) else {
        ensure!(!out.exists(), "{} exists and is not a folder", out.display());
        return Ok(());
    };
    ensure!(
        entries.next().is_none() || out.join("bin/sonotune").is_file(),
        "{} exists and holds something other than a bundle; choose another folder",
        out.display()
    );
    Ok(())
}

fn fill(folder: &Path, binary: &Path) -> Result<()> {
    let root = workspace::root();
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let target = bin.join("sonotune");
    copy(binary, &target)?;
    if let Some(nccl) = nccl_library()? {
        copy(&nccl, &bin.join(NCCL_LIBRARY))?;
    }
    strip(&target)?;
    // By the program that was built: the copy does not find libtorch without its launcher.
    shell_files(binary, &folder.join("share"))?;
    let launcher = folder.join("sonotune");
    fs::write(&launcher, launcher_text(&target)?)
        .with_context(|| format!("cannot write {}", launcher.display()))?;
    fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", launcher.display()))?;
    for name in DOCUMENTS {
        let source = root.join(name);
        ensure!(source.exists(), "{} belongs in the bundle but is missing", source.display());
        copy(&source, &folder.join(name))?;
    }
    Ok(())
}

fn launcher_text(binary: &Path) -> Result<String> {
    let series = TORCH_VERSION.rsplit_once('.').map_or(TORCH_VERSION, |(series, _)| series);
    let needs = Needs::of(binary)?;
    let glibc = needs.glibc().with_context(|| binary.display().to_string())?.to_string();
    Ok(LAUNCHER.replace("@SERIES@", series).replace("@GLIBC@", &glibc))
}

fn ensure_small(folder: &Path) -> Result<u64> {
    let size = folder_size(folder)?;
    if size >= LIMIT_BYTES {
        bail!("the bundle takes {size} bytes; it must stay below {LIMIT_BYTES}");
    }
    Ok(size)
}

fn folder_size(folder: &Path) -> Result<u64> {
    let place = || format!("cannot look into {}", folder.display());
    let mut size = 0;
    for entry in fs::read_dir(folder).with_context(place)? {
        let entry = entry.with_context(place)?;
        let meta = entry.metadata().with_context(place)?;
        size += if meta.is_dir() { folder_size(&entry.path())? } else { meta.len() };
    }
    Ok(size)
}

/// Starts it once, with the libtorch of the build.
fn ensure_starts(bundle: &Path, libtorch: &Libtorch) -> Result<()> {
    let said = process::output(
        Command::new(bundle.join("sonotune")).arg("--version").env("LIBTORCH", &libtorch.dir),
    )
    .context("the bundle does not start")?;
    eprintln!("starts: {}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_else_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        ensure_replaceable(&out).unwrap();
        fs::create_dir(&out).unwrap();
        ensure_replaceable(&out).unwrap();
        fs::write(out.join("thesis.tex"), "").unwrap();
        let message = ensure_replaceable(&out).unwrap_err().to_string();
        assert!(message.contains("something other"), "{message}");
    }

    /// A Python without torch, and one whose torch is another version.
    #[test]
    fn the_launcher_says_what_is_wrong_with_a_python() {
        let home = tempfile::tempdir().unwrap();
        let launcher = home.path().join("sonotune");
        let text = LAUNCHER.replace("@SERIES@", "2.11").replace("@GLIBC@", "2.17");
        fs::write(&launcher, text).unwrap();
        let site = home.path().join("site");
        let start = |python: &str| {
            let output = Command::new("sh")
                .arg(&launcher)
                .env_remove("LIBTORCH")
                .env("SONOTUNE_PYTHON", python)
                .env("PYTHONPATH", &site)
                .output()
                .unwrap();
            assert!(!output.status.success());
            String::from_utf8(output.stderr).unwrap()
        };
        assert!(start("no-such-python").contains("there is no Python 'no-such-python'"));
        if Command::new("python3").arg("--version").output().is_err() {
            eprintln!("skipped: there is no python3 to test the bundle's launcher with");
            return;
        }
        fs::create_dir_all(site.join("torch")).unwrap();
        fs::write(site.join("torch/__init__.py"), "raise SystemExit('imported')").unwrap();
        fs::write(site.join("torch/version.py"), "__version__ = '2.10.1+cpu'\n").unwrap();
        let said = start("python3");
        assert!(said.contains("is 2.10.1+cpu; Sonotune needs 2.11"), "{said}");
        fs::write(site.join("torch/version.py"), "__version__ = '2.11.0+cpu'\n").unwrap();
        let said = start("python3");
        assert!(said.contains("libtorch_cpu.so is in none of"), "{said}");
    }
}
