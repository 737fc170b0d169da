//! Pythons: the one whose pip installs packages, and virtual environments for tests and benches.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{process, workspace};

/// Variable with the Python that tests and benches use; if the user has set it, it is not changed.
pub(crate) const PYTHON_VARIABLE: &str = "SONOTUNE_PYTHON";

/// Packages of PyPI that tests and benches compare with, in `.python/<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    /// Small: the packages that most tests read results back with.
    Test,
    /// Large (torch and its CUDA libraries): the other side of parity tests and benches.
    Peers,
}

impl Environment {
    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Peers => "peers",
        }
    }

    fn requirements(self) -> &'static [&'static str] {
        match self {
            Self::Test => &["tensorboard>=2.19"],
            Self::Peers => &[
                "torch==2.11.0",
                "torchvision==0.26.0",
                "segment-anything==1.0",
                "transformers>=5",
                "mmengine>=0.10.7",
                "opencv-python-headless",
                "pycocotools",
                "safetensors",
                "scikit-learn",
                "statsmodels",
                "torchmetrics",
                "monai>=1.6",
                "surface-distance",
                "tensorboard>=2.19",
            ],
        }
    }

    fn dir(self) -> PathBuf {
        workspace::python_dir().join(self.name())
    }

    /// Its Python, if it was installed completely with the current requirements.
    pub(crate) fn python(self) -> Option<PathBuf> {
        let laid = fs::read_to_string(self.dir().join(LAID_FILE)).ok()?;
        let python = self.dir().join("bin/python");
        // A virtual environment breaks if the Python it was made from is removed.
        (laid == self.requirements().join("\n") && runs(&python)).then_some(python)
    }

    /// Creates it, unless it exists.
    ///
    /// # Errors
    /// If Python, venv or pip are missing or fail.
    pub(crate) fn lay(self) -> Result<PathBuf> {
        if let Some(python) = self.python() {
            return Ok(python);
        }
        let dir = self.dir();
        let _lock = workspace::lock(&workspace::python_dir(), &format!("{}.lock", self.name()))?;
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        let base = with_pip()?;
        process::run(Command::new(&base).args(["-m", "venv"]).arg(&dir)).with_context(
            || "cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)",
        )?;
        let python = dir.join("bin/python");
        let mut pip = pip(&python);
        // Tests continue without it: do not wait for minutes if there is no network.
        pip.args(["install", "--quiet", "--retries", "1"]).args(self.requirements());
        process::run(&mut pip)?;
        fs::write(dir.join(LAID_FILE), self.requirements().join("\n"))
            .with_context(|| format!("cannot write into {}", dir.display()))?;
        Ok(python)
    }
}

/// Written last: a folder without it was interrupted.
const LAID_FILE: &str = "sonotune-requirements.txt";

/// The Python that tests and benches should use: the user's, else the largest environment that is
/// installed, else none.
pub(crate) fn chosen() -> Option<PathBuf> {
    std::env::var_os(PYTHON_VARIABLE)
        .map(PathBuf::from)
        .or_else(|| Environment::Peers.python())
        .or_else(|| Environment::Test.python())
}

/// A Python that has pip.
///
/// # Errors
/// If there is none; says what to install.
pub(crate) fn with_pip() -> Result<PathBuf> {
    let named = std::env::var_os(PYTHON_VARIABLE).map(PathBuf::from);
    let candidates = named.into_iter().chain(["python3".into(), "python".into()]);
    let present: Vec<PathBuf> = candidates.filter(|python| runs(python)).collect();
    if present.is_empty() {
        bail!(
            "no Python found (looked for python3 and python on PATH): pip is needed to download \
             libtorch.\n\
             Install Python 3 with pip (Debian, Ubuntu: apt install python3 python3-pip \
             python3-venv; Fedora: dnf install python3-pip),\n\
             or set LIBTORCH to the absolute path of a libtorch 2.11 that you have"
        );
    }
    let Some(python) = present.iter().find(|python| pip_version(python).is_some()) else {
        bail!(
            "{} has no pip (`python3 -m pip` fails): pip is needed to download libtorch.\n\
             Install it (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install \
             python3-pip; elsewhere: python3 -m ensurepip),\n\
             or set LIBTORCH to the absolute path of a libtorch 2.11 that you have",
            present[0].display()
        );
    };
    let version = pip_version(python).unwrap_or_default();
    if version < (20, 3) {
        bail!(
            "pip {}.{} of {} is too old to know current Linux wheels: {} -m pip install \
             --upgrade 'pip>=20.3'",
            version.0,
            version.1,
            python.display(),
            python.display()
        );
    }
    Ok(python.clone())
}

/// `python -m pip`, without settings that would install packages elsewhere. The package index is that
/// of the user's pip configuration.
pub(crate) fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "pip"])
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        // Nothing in the system is changed: the target is a folder of ours.
        .env("PIP_ROOT_USER_ACTION", "ignore")
        // Packages of the working directory or of PYTHONPATH must not shadow pip's own.
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME");
    command
}

pub(crate) fn runs(python: &Path) -> bool {
    Command::new(python)
        .args(["-c", "import sys; sys.exit(sys.version_info < (3, 6))"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn pip_version(python: &Path) -> Option<(u32, u32)> {
    let said = process::output(pip(python).arg("--version")).ok()?;
    parse_pip_version(&said)
}

/// `pip 23.2.1 from …` → (23, 2).
fn parse_pip_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("pip ")?.split_whitespace().next()?.split('.');
    let major = numbers.next()?.parse().ok()?;
    // 25.0b1 counts as 25.0.
    let minor: String =
        numbers.next().unwrap_or("0").chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_tells_its_version() {
        assert_eq!(parse_pip_version("pip 23.2.1 from /x (python 3.11)\n"), Some((23, 2)));
        assert_eq!(parse_pip_version("pip 9.0b1 from /x"), Some((9, 0)));
        assert_eq!(parse_pip_version("No module named pip"), None);
    }
}
