//! The deterministic mode: the same numbers from the same run, or a list of what prevents it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};

use anyhow::Result;
use torch_shim_sys::{Determinism, set_determinism};

use crate::{Error, config::Deterministic, data::image_io::panic_text};

/// How libtorch's refusal of an operator reads.
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
    if mode == Deterministic::Require {
        // `guarded` turns this panic into an error; nobody needs to read it twice.
        let others = take_hook();
        set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if !text.contains(REFUSAL) {
                others(info);
            }
        }));
    }
    Ok(())
}

/// Operators without a deterministic implementation that have run so far, with `deterministic =
/// "warn"`; sorted.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn operators() -> Result<Vec<String>> {
    Ok(torch_shim_sys::nondeterministic_operators()?)
}

/// Returns the result of `compute`. An operator that libtorch refuses with `deterministic = "require"`
/// becomes an error, even if the caller of libtorch panics, as tch's plain methods do.
///
/// # Errors
/// An error of kind config if an operator was refused; names it and what to do. Others are propagated.
pub fn guarded<T>(compute: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(compute)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => match refused(&format!("{error:#}")) {
            Some(explained) => Err(explained.into()),
            None => Err(error),
        },
        Err(panic) => match refused(panic_text(&*panic)) {
            Some(explained) => Err(explained.into()),
            None => resume_unwind(panic),
        },
    }
}

/// The error to return if `text` contains libtorch's refusal.
fn refused(text: &str) -> Option<Error> {
    let (before, _) = text.split_once(REFUSAL)?;
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.');
    let operator = before.rsplit(|c| !is_name(c)).find(|part| !part.is_empty())?;
    Some(Error::config(format!(
        "deterministic = \"require\", but the operator `{operator}` has no deterministic \
         implementation on this device; set deterministic = \"warn\" to continue and have these \
         operators listed, or device = \"cpu\", where far fewer are missing"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    const TEXT: &str = "put_ does not have a deterministic implementation, but you set \
                        'torch.use_deterministic_algorithms(True)'. You can turn off …";

    #[test]
    fn a_refused_operator_is_named_with_the_remedy() {
        for error in [
            guarded(|| -> Result<()> { Err(anyhow::anyhow!("Internal torch error: {TEXT}")) }),
            guarded(|| -> Result<()> { panic!("called `Result::unwrap()`: Torch(\"{TEXT}\")") }),
        ] {
            let error = error.unwrap_err();
            assert_eq!(exit_code(&error), 2);
            let text = error.to_string();
            assert!(text.contains("the operator `put_` has no deterministic"), "{text}");
            assert!(text.contains("set deterministic = \"warn\""), "{text}");
        }
    }

    #[test]
    fn other_faults_pass() {
        assert_eq!(guarded(|| Ok(3)).unwrap(), 3);
        let other = guarded(|| -> Result<()> { Err(Error::data("no image").into()) }).unwrap_err();
        assert_eq!(exit_code(&other), 3);
        catch_unwind(|| guarded(|| -> Result<()> { panic!("a bug") })).unwrap_err();
    }
}
