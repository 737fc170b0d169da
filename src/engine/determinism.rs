//! The deterministic mode: the same numbers from the same run, or a list of what prevents it.

use std::cell::LazyCell;

use anyhow::Result;
use sonotune_shim::{Determinism, set_determinism};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::out_of_memory;
use sonotune_base::{Error, error::ErrorKind, panics::catching};

/// Whether the same run must give the same numbers on the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deterministic {
    /// The fastest kernels; on the CPU they are deterministic anyway.
    #[default]
    Off,
    /// Deterministic kernels where available; the other operators are listed at the end.
    Warn,
    /// An operator without one is an error.
    Require,
}

/// libtorch's message when it refuses an operator.
const REFUSAL: &str = " does not have a deterministic implementation";

/// Sets the mode for the process. Call it before a device is chosen: CUDA reads it when it is loaded.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn apply(mode: Deterministic) -> Result<()> {
    set_determinism(match mode {
        Deterministic::Off => Determinism::Off,
        Deterministic::Warn => Determinism::Warn,
        Deterministic::Require => Determinism::Require,
    })?;
    Ok(())
}

/// Operators without a deterministic implementation that have run so far, with `deterministic =
/// "warn"`; sorted.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn operators() -> Result<Vec<String>> {
    Ok(sonotune_shim::nondeterministic_operators()?)
}

/// Runs a task's `compute`. A panic in it, such as tch's plain methods raise when libtorch refuses,
/// becomes the error `what: message`; so a task needs no fallible `f_…` calls.
///
/// # Errors
/// Of kind config if `deterministic = "require"` refused an operator: names it, and what to do. An error of
/// kind memory if there is none left: says how much there is, and what to do.
/// Other errors and panics are passed on.
pub fn guarded<T>(what: impl FnOnce() -> String, compute: impl FnOnce() -> Result<T>) -> Result<T> {
    let what = LazyCell::new(what);
    catching(|| what.clone(), compute).map_err(|error| {
        // It has been explained where it arose.
        if sonotune_base::error::kind(&error) == Some(ErrorKind::Memory) {
            return error;
        }
        let text = format!("{error:#}");
        let known = refused(&text).or_else(|| out_of_memory::explained(&what, &text));
        known.map_or(error, Into::into)
    })
}

/// The error to return if `text` contains libtorch's refusal.
fn refused(text: &str) -> Option<Error> {
    let (before, _) = text.split_once(REFUSAL)?;
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.');
    let operator = before.rsplit(|c| !is_name(c)).find(|part| !part.is_empty())?;
    Some(Error::config(format!(
        "deterministic = \"require\", but the operator `{operator}` has no deterministic \
         implementation on this device; set deterministic = \"warn\" to continue and have these \
         operators listed, or device = \"cpu\", where far fewer lack one"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonotune_base::error::exit_code;

    fn what() -> String {
        "step 3".to_owned()
    }

    const TEXT: &str = "put_ does not have a deterministic implementation, but you set \
                        'torch.use_deterministic_algorithms(True)'. You can turn off …";

    #[test]
    fn a_refused_operator_is_named_with_the_remedy() {
        for error in [
            guarded(what, || -> Result<()> { Err(anyhow::anyhow!("torch error: {TEXT}")) }),
            guarded(what, || -> Result<()> { panic!("called unwrap(): Torch(\"{TEXT}\")") }),
        ] {
            let error = error.unwrap_err();
            assert_eq!(exit_code(&error), 2);
            let text = error.to_string();
            assert!(text.contains("the operator `put_` has no deterministic"), "{text}");
            assert!(text.contains("set deterministic = \"warn\""), "{text}");
        }
    }

    #[test]
    fn memory_that_has_run_out_is_of_its_own_kind() {
        let inner = || {
            guarded(|| "inner".to_owned(), || -> Result<()> { panic!("CUDA out of memory. X.") })
        };
        let error = guarded(what, inner).unwrap_err();
        assert_eq!(exit_code(&error), 7);
        assert!(
            error.to_string().starts_with("inner: CUDA out of memory. X. What helps"),
            "{error}"
        );
    }

    #[test]
    fn other_faults_pass_and_a_panic_says_where() {
        assert_eq!(guarded(what, || Ok(3)).unwrap(), 3);
        let other = guarded(what, || -> Result<()> { Err(Error::data("no image").into()) });
        assert_eq!(exit_code(&other.unwrap_err()), 3);
        let panic = guarded(what, || -> Result<()> { panic!("a bug") }).unwrap_err();
        assert_eq!(panic.to_string(), "step 3: a bug");
    }
}
