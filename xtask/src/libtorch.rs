//! Which libtorch a build will use, and whether it is the right one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// The version that tch 0.24 binds to, as named by pip.
pub(crate) const TORCH_VERSION: &str = "2.11.0";
/// Patch releases keep the binary interface.
pub(crate) const SERIES: &str = "2.11.";

/// A libtorch of the right version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Libtorch {
    /// Holds `lib/` and `include/`: what `LIBTORCH` means.
    pub(crate) dir: PathBuf,
    /// E.g. `2.11.0+cu130`.
    pub(crate) version: String,
    /// Whether its CUDA libraries can be loaded: libtorch's own, with cuBLAS and cuDNN beside it.
    pub(crate) cuda: bool,
}

/// The user's own `LIBTORCH`, checked; `None` if it is not set.
///
/// Cargo sets the variable to the project-local folder (`.cargo/config.toml`); that value does not
/// count.
///
/// # Errors
/// If it is set to something that is not libtorch 2.11.
pub(crate) fn of_the_user() -> Result<Option<Libtorch>> {
    let Some(dir) = std::env::var_os("LIBTORCH").map(PathBuf::from) else { return Ok(None) };
    if dir == workspace::libtorch_dir().join("torch") {
        return Ok(None);
    }
    let advice = "set LIBTORCH to the absolute path of a libtorch 2.11 (the folder that holds lib/ \
                  and include/), or unset it and run `cargo xtask setup`";
    ensure!(dir.is_absolute(), "LIBTORCH is {:?}, a relative path; {advice}", dir.display());
    let found = inspect(&dir).with_context(|| {
        format!("LIBTORCH is {}, which cannot be used; {advice}", dir.display())
    })?;
    Ok(Some(found))
}

/// The project-local libtorch; `None` if it has not been downloaded.
///
/// # Errors
/// If its folder has something other than libtorch 2.11.
pub(crate) fn of_the_project() -> Result<Option<Libtorch>> {
    let dir = workspace::libtorch_dir();
    if fs::symlink_metadata(&dir).is_err() {
        return Ok(None);
    }
    inspect(&dir.join("torch")).map(Some)
}

/// Reads version and content of the libtorch in `dir`.
///
/// # Errors
/// If there is none, or it has another version.
pub(crate) fn inspect(dir: &Path) -> Result<Libtorch> {
    ensure!(dir.is_dir(), "there is no folder {}", dir.display());
    let library = dir.join("lib/libtorch_cpu.so");
    ensure!(library.is_file(), "{} is missing", library.display());
    let headers = dir.join("include/torch");
    ensure!(headers.is_dir(), "its headers are missing ({})", headers.display());
    let version = version(dir)?;
    ensure!(
        version.starts_with(SERIES),
        "it is libtorch {version}; Sonotune is built for {TORCH_VERSION}"
    );
    Ok(Libtorch { dir: dir.to_path_buf(), version, cuda: has_cuda(dir) })
}

/// From `version.py` of a Python package, or `build-version` of a libtorch archive.
fn version(dir: &Path) -> Result<String> {
    let python = dir.join("version.py");
    if let Ok(text) = fs::read_to_string(&python) {
        return text
            .lines()
            .find_map(|line| line.strip_prefix("__version__ = '")?.strip_suffix('\''))
            .map(str::to_owned)
            .with_context(|| format!("{} does not set __version__", python.display()));
    }
    let archive = dir.join("build-version");
    match fs::read_to_string(&archive) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(_) => bail!(
            "its version is unknown: neither {} nor {} can be read",
            python.display(),
            archive.display()
        ),
    }
}

fn has_cuda(dir: &Path) -> bool {
    let lib = dir.join("lib");
    if !lib.join("libtorch_cuda.so").is_file() {
        return false;
    }
    // A wheel keeps NVIDIA's libraries in packages beside it, an archive in its own lib/.
    let holds = |folder: &Path, stem: &str| {
        fs::read_dir(folder).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(stem))
        })
    };
    let nvidia = dir.parent().map(|site| site.join("nvidia"));
    let beside = |stem: &str| {
        nvidia.as_deref().and_then(|folder| fs::read_dir(folder).ok()).is_some_and(|packages| {
            packages.flatten().any(|package| holds(&package.path().join("lib"), stem))
        })
    };
    ["libcublas", "libcudnn"].iter().all(|stem| holds(&lib, stem) || beside(stem))
}

impl std::fmt::Display for Libtorch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let devices = if self.cuda { "CPU and CUDA" } else { "CPU" };
        write!(f, "libtorch {} for {devices} in {}", self.version, workspace::shown(&self.dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(version_file: &str, text: &str) -> tempfile::TempDir {
        let site = tempfile::tempdir().unwrap();
        let torch = site.path().join("torch");
        fs::create_dir_all(torch.join("lib")).unwrap();
        fs::create_dir_all(torch.join("include/torch")).unwrap();
        fs::write(torch.join("lib/libtorch_cpu.so"), "").unwrap();
        fs::write(torch.join(version_file), text).unwrap();
        site
    }

    #[test]
    fn wheel_and_archive_tell_their_version() {
        let wheel =
            fake("version.py", "from typing import Optional\n__version__ = '2.11.0+cu130'\n");
        let found = inspect(&wheel.path().join("torch")).unwrap();
        assert_eq!((found.version.as_str(), found.cuda), ("2.11.0+cu130", false));
        let archive = fake("build-version", "2.11.0+cpu\n");
        assert_eq!(inspect(&archive.path().join("torch")).unwrap().version, "2.11.0+cpu");
    }

    #[test]
    fn another_version_is_refused_with_both_numbers() {
        let other = fake("version.py", "__version__ = '2.1.10'\n");
        let message = inspect(&other.path().join("torch")).unwrap_err().to_string();
        assert!(message.contains("2.1.10") && message.contains("2.11.0"), "{message}");
    }

    #[test]
    fn a_folder_without_the_library_is_refused_by_its_name() {
        let empty = tempfile::tempdir().unwrap();
        let message = inspect(empty.path()).unwrap_err().to_string();
        assert!(message.contains("lib/libtorch_cpu.so is missing"), "{message}");
    }

    #[test]
    fn cuda_needs_the_libraries_of_nvidia_as_well() {
        let site = fake("version.py", "__version__ = '2.11.0+cu130'\n");
        let torch = site.path().join("torch");
        fs::write(torch.join("lib/libtorch_cuda.so"), "").unwrap();
        assert!(!inspect(&torch).unwrap().cuda);
        for (package, library) in [("cu13", "libcublas.so.13"), ("cudnn", "libcudnn.so.9")] {
            let lib = site.path().join("nvidia").join(package).join("lib");
            fs::create_dir_all(&lib).unwrap();
            fs::write(lib.join(library), "").unwrap();
        }
        assert!(inspect(&torch).unwrap().cuda);
    }
}
