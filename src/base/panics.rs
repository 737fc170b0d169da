//! Panics of third-party code, as errors: decoders of hostile files, and tch's plain calls, which panic
//! if libtorch refuses.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use anyhow::{Result, anyhow};

thread_local! {
    /// How many calls of [`caught`] this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `work`. A panic in it becomes the error `what: message`, and is not printed: the caller
/// reports it, once.
///
/// # Errors
/// Errors from `work`, and its panic.
pub fn catching<T>(what: impl FnOnce() -> String, work: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(work).unwrap_or_else(|message| Err(anyhow!("{}: {message}", what())))
}

/// Runs `work`.
///
/// # Errors
/// The message of its panic, which is not printed.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    silence_caught_panics();
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    result.map_err(|panic| text(&*panic).to_owned())
}

/// Panics outside of [`caught`] are printed as before.
fn silence_caught_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 {
                before(info);
            }
        }));
    });
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_says_where() {
        let what = || "step 3".to_owned();
        let error = catching(what, || -> Result<()> { panic!("shapes {} and {}", 1, 2) });
        assert_eq!(error.unwrap_err().to_string(), "step 3: shapes 1 and 2");
        assert_eq!(catching(what, || Ok(3)).unwrap(), 3);
        let error = catching(what, || -> Result<()> { Err(anyhow!("its own")) }).unwrap_err();
        assert_eq!(error.to_string(), "its own");
    }

    #[test]
    fn a_caught_panic_within_another_leaves_the_outer_one_caught() {
        let inner = || catching(|| "inner".to_owned(), || -> Result<()> { panic!("a") });
        let outer = catching(
            || "outer".to_owned(),
            || -> Result<()> {
                inner().unwrap_err();
                panic!("b")
            },
        );
        assert_eq!(outer.unwrap_err().to_string(), "outer: b");
        assert_eq!(DEPTH.get(), 0);
    }
}
