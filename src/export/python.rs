//! The user's Python, which runs exported files with the programs they are for.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sonotune_base::Error;

/// Runs models on inputs in files; see the script for its input and output.
const SCRIPT: &str = include_str!("check.py");
/// Environment variable that names the interpreter.
const VARIABLE: &str = "SONOTUNE_PYTHON";

/// An interpreter with what the checks need.
#[derive(Debug)]
pub(crate) struct Python {
    path: PathBuf,
    /// Names and versions of what runs the files.
    pub(crate) versions: Vec<String>,
}

/// One run of a model.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    pub(crate) file: PathBuf,
    /// `onnx`, or the name of a TorchScript method.
    pub(crate) method: String,
    /// By place for TorchScript, by name for ONNX.
    pub(crate) inputs: Vec<StepInput>,
    /// Receives the outputs, by place.
    pub(crate) outputs: Vec<PathBuf>,
}

/// An input: an array in a file, which an earlier step may have written.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StepInput {
    pub(crate) name: String,
    pub(crate) npy: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Found {
    versions: Vec<(String, String)>,
    missing: Vec<String>,
}

impl Python {
    /// The interpreter that the user named, or the environment, or `python3`.
    ///
    /// # Errors
    /// Of kind config if it does not start, or lacks a package; says how to install it.
    pub(crate) fn find(named: Option<&Path>, packages: &[&str]) -> Result<Self> {
        let path = named.map(Path::to_owned);
        let path =
            path.or_else(|| std::env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(Into::into));
        let path = path.unwrap_or_else(|| PathBuf::from("python3"));
        let job = serde_json::json!({ "packages": packages });
        let output = run(&path, &job).map_err(|error| {
            Error::config(format!(
                "{error:#}\n  exported files are checked by running them in Python: name an interpreter with \
                 --python or {VARIABLE}, or pass --unchecked"
            ))
        })?;
        let found: Found = serde_json::from_str(&output)
            .with_context(|| format!("{} answered: {output}", path.display()))?;
        if found.missing.is_empty() {
            let versions = found.versions.iter().map(|(name, version)| format!("{name} {version}"));
            return Ok(Self { path, versions: versions.collect() });
        }
        Err(Error::config(format!(
            "{python} lacks {missing}, which run exported files to check them. Install them:\n  {python} -m pip \
             install {missing}\nor name another interpreter with --python or {VARIABLE}, or pass --unchecked, \
             which writes files that nothing has run",
            python = path.display(),
            missing = found.missing.join(" ")
        ))
        .into())
    }

    /// Runs the steps in order.
    ///
    /// # Errors
    /// Of kind weights if a file cannot be loaded or run; with the program's message.
    pub(crate) fn run(&self, steps: &[Step]) -> Result<()> {
        run(&self.path, &serde_json::json!({ "steps": steps })).map(drop).map_err(|error| {
            Error::weights(format!("an exported file does not run: {error:#}")).into()
        })
    }
}

fn run(python: &Path, job: &serde_json::Value) -> Result<String> {
    let mut command = Command::new(python);
    command
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A Python of its own does not find its libtorch behind ours.
    command.env_remove("LD_LIBRARY_PATH").env("PYTHONIOENCODING", "utf-8");
    let mut child =
        command.spawn().with_context(|| format!("{} does not start", python.display()))?;
    if let Some(mut input) = child.stdin.take() {
        // A child that ended has said why.
        let _ = input.write_all(job.to_string().as_bytes());
    }
    let output = child.wait_with_output().with_context(|| python.display().to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last: Vec<_> = text.trim_end().lines().rev().take(8).collect();
    let last: Vec<_> = last.into_iter().rev().collect();
    anyhow::bail!("{} ended with {}:\n{}", python.display(), output.status, last.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_is_not_there_or_lacks_packages_is_refused_with_a_remedy() {
        let error = Python::find(Some(Path::new("/nowhere/python")), &["numpy"]).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("does not start") && message.contains("--unchecked"), "{message}");
        let error = Python::find(Some(Path::new("python3")), &["no_such_package"]).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("python3 -m pip install no_such_package"), "{message}");
    }
}
