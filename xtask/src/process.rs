//! Child processes: Cargo without the environment variables of the Cargo we run under, and errors that
//! name the command.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A Cargo command in the repository's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    without_cargo_run(&mut command);
    command.current_dir(workspace::root());
    command
}

/// Removes the variables that `cargo run` set for us: they describe the package `xtask` and would mislead
/// a build script or a test that reads them.
pub(crate) fn without_cargo_run(command: &mut Command) {
    let set_by_run = |name: &OsString| {
        name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_MANIFEST_LINKS"]
                    .contains(&name)
        })
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| set_by_run(name)) {
        command.env_remove(name);
    }
}

/// Runs to the end, with our own standard streams unless set otherwise.
///
/// # Errors
/// If it cannot be started or fails; names the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run `{}`", line(command)))?;
    ensure_success(command, status)
}

/// Runs to the end and returns what it wrote on standard output.
///
/// # Errors
/// Same errors as [`run`]; the message includes what the command wrote to standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run `{}`", line(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` {}\n{}", line(command), how_it_ended(output.status), stderr.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program that Cargo built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executable {
    /// Name of the target, e.g. `sonotune`.
    pub(crate) name: String,
    /// Kind of the target: `bin`, `bench`, `test`, `lib` …
    pub(crate) kind: String,
    pub(crate) path: PathBuf,
}

/// Runs a Cargo build with its messages shown, and returns the executables it made.
///
/// # Errors
/// Same errors as [`run`].
pub(crate) fn cargo_executables(build: &mut Command) -> Result<Vec<Executable>> {
    Ok(cargo_messages(build, &[])?.lines().filter_map(executable).collect())
}

/// Runs `cargo rustc` with these arguments of rustc; returns the executables, and the value of a variable that a build
/// script sets.
///
/// # Errors
/// Same errors as [`run`].
pub(crate) fn cargo_rustc(
    build: &mut Command,
    arguments: &[OsString],
    name: &str,
) -> Result<(Vec<Executable>, Option<String>)> {
    let messages = cargo_messages(build, arguments)?;
    let value = messages.lines().find_map(|message| variable(message, name));
    Ok((messages.lines().filter_map(executable).collect(), value))
}

/// Runs a Cargo build with its messages shown, and returns the value of a variable that a build script of it sets for its
/// crate (`cargo::rustc-env`); `None` if none does.
///
/// # Errors
/// Same errors as [`run`].
pub(crate) fn cargo_variable(build: &mut Command, name: &str) -> Result<Option<String>> {
    Ok(cargo_messages(build, &[])?.lines().find_map(|message| variable(message, name)))
}

/// What Cargo says, with `rustc` as the arguments of rustc behind its own.
fn cargo_messages(build: &mut Command, rustc: &[OsString]) -> Result<String> {
    // Diagnostics still go to standard error in their usual form; only artifacts come as JSON.
    build.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    if !rustc.is_empty() {
        build.arg("--").args(rustc);
    }
    let output = build
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{}`", line(build)))?;
    ensure_success(build, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The variable in a `build-script-executed` message of Cargo.
fn variable(message: &str, name: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let variables = message.get("env")?.as_array()?;
    let found =
        variables.iter().find(|pair| pair.get(0).and_then(|own| own.as_str()) == Some(name))?;
    Some(found.get(1)?.as_str()?.to_owned())
}

/// The executable of a `compiler-artifact` message of Cargo.
fn executable(message: &str) -> Option<Executable> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    Some(Executable {
        name: target.get("name")?.as_str()?.to_owned(),
        kind: target.get("kind")?.get(0)?.as_str()?.to_owned(),
        path: message.get("executable")?.as_str()?.into(),
    })
}

/// # Errors
/// If `status` is not success; names the command line.
pub(crate) fn ensure_success(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{}` {}", line(command), how_it_ended(status))
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

/// The command as a user would type it: the program by its file name, arguments with spaces quoted.
pub(crate) fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|part| {
            let part = part.to_string_lossy();
            let plain = !part.is_empty() && !part.contains([' ', '\n', '\'', '"', '$']);
            if plain { part.into_owned() } else { format!("'{part}'") }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_quotes_what_a_shell_would_split() {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", "import torch", "--x=1"]);
        assert_eq!(line(&command), "python3 -c 'import torch' --x=1");
    }

    #[test]
    fn executables_are_read_from_the_messages_of_cargo() {
        let built = r#"{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"x"},"executable":"/t/x-1"}"#;
        let library = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"y"},"executable":null}"#;
        let found = executable(built).unwrap();
        assert_eq!((found.name.as_str(), found.kind.as_str()), ("x", "bench"));
        assert_eq!(executable(library), None);
    }

    #[test]
    fn variables_of_build_scripts_are_read_from_the_messages_of_cargo() {
        let ran =
            r#"{"reason":"build-script-executed","env":[["A","1"],["B","/t/b"]],"out_dir":"/t"}"#;
        assert_eq!(variable(ran, "B").as_deref(), Some("/t/b"));
        assert_eq!(variable(ran, "C"), None);
        assert_eq!(variable(r#"{"reason":"build-finished","success":true}"#, "B"), None);
    }

    #[test]
    fn a_failed_command_is_named_with_its_exit_code_and_words() {
        let error = output(Command::new("sh").args(["-c", "echo lost >&2; exit 3"])).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("exit code 3") && message.contains("lost"), "{message}");
    }
}
