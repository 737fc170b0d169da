//! How the threads of libtorch's operators wait for each other: asleep, unless the user decides otherwise.
//!
//! By default OpenMP's threads wait in a loop that reads memory. Beside other work a thread may lose its core
//! in the middle of an operator; the others then burn their time slices until it gets one back, at each of a
//! step's thousand operators. Asleep, they leave their cores to it.
//!
//! The runtime (libgomp in torch's wheels) reads the variable when it is loaded, before `main`, and has no
//! call to change it later. So the process executes its program a second time, with the variable set: process
//! id, terminal, open files, limits and signals stay, and arguments and name are the same. A function in
//! `.preinit_array` would run before the runtime is loaded, but its `setenv` is lost before glibc 2.34.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// The variable of OpenMP's standard.
const POLICY: &str = "OMP_WAIT_POLICY";

/// Variables by which a user decides how threads wait: the standard's, GNU's and Intel's.
const DECISIVE: [&str; 3] = [POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];

/// Makes the threads of this program wait asleep: starts it again with `OMP_WAIT_POLICY=passive`, unless the
/// environment already says how they wait. To be called before any thread is started; does not return if it
/// starts again.
///
/// # Errors
/// Why it cannot start again; then threads wait as they come, and all else works.
pub(super) fn wait_passively() -> Result<(), String> {
    let Some(program) = program_to_start(|name| env::var_os(name), env::current_exe().ok()) else {
        return Ok(());
    };
    let mut arguments = env::args_os();
    let mut again = Command::new(&program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    let error = again.args(arguments).env(POLICY, "passive").exec();
    Err(format!(
        "threads wait for each other in loops, which is slow beside other work: cannot start {} again with \
         {POLICY}=passive ({error}); set it yourself",
        program.display()
    ))
}

/// The program to start again, if nothing says yet how threads wait.
fn program_to_start(
    variable: impl Fn(&str) -> Option<OsString>,
    program: Option<PathBuf>,
) -> Option<PathBuf> {
    let is_open = DECISIVE.iter().all(|name| variable(name).is_none());
    program.filter(|program| is_open && !is_dynamic_linker(program))
}

/// Whether the process is one of `ld.so PROGRAM`, which the system knows by the name of `ld.so`.
fn is_dynamic_linker(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("ld-linux") || name.starts_with("ld.so") || name.starts_with("ld-2.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(variables: &[(&str, &str)], program: &str) -> bool {
        let value = |name: &str| {
            let set = variables.iter().find(|(set, _)| *set == name)?;
            Some(set.1.into())
        };
        program_to_start(value, Some(program.into())).is_some()
    }

    #[test]
    fn what_the_user_says_stays() {
        assert!(starts(&[], "/opt/sonotune"));
        assert!(starts(&[("OMP_NUM_THREADS", "4")], "/opt/sonotune"));
        for name in DECISIVE {
            assert!(!starts(&[(name, "active")], "/opt/sonotune"), "{name}");
            assert!(!starts(&[(name, "")], "/opt/sonotune"), "{name}");
        }
    }

    #[test]
    fn only_the_program_itself_is_started_again() {
        assert!(!starts(&[], "/lib64/ld-linux-x86-64.so.2"));
        assert!(!starts(&[], "/lib/ld-2.31.so"));
        assert_eq!(program_to_start(|_| None, None), None);
    }
}
