//! Deterministic kernels, and which operators do not have one.

use std::ffi::{CStr, CString};

use crate::{ShimError, ffi};

/// What libtorch does about operators whose results differ from call to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Determinism {
    /// Use the fastest kernel.
    Off = 0,
    /// Use a deterministic kernel if there is one, and record the operator if not.
    Warn = 1,
    /// Refuse an operator without a deterministic kernel.
    Require = 2,
}

/// Sets the mode for the process, and for this thread the handling of libtorch's warnings about it.
/// Must come before CUDA is loaded: cuBLAS is configured by an environment variable.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn set_determinism(mode: Determinism) -> Result<(), ShimError> {
    // SAFETY: plain values only. It sets an environment variable that none of our other threads
    // reads.
    ffi::check(unsafe { ffi::shim_set_determinism(mode as i32) })
}

/// Operators without a deterministic implementation that have run under [`Determinism::Warn`],
/// sorted by name.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn nondeterministic_operators() -> Result<Vec<String>, ShimError> {
    let mut lines = std::ptr::null_mut();
    // SAFETY: the pointer outlives the call.
    ffi::check(unsafe { ffi::shim_nondeterministic_operators(&mut lines) })?;
    if lines.is_null() {
        return Err(ShimError("no memory".to_owned()));
    }
    // SAFETY: not null, and the shim hands over a string of its own.
    let names =
        unsafe { CStr::from_ptr(lines) }.to_string_lossy().lines().map(str::to_owned).collect();
    // SAFETY: allocated by the shim, freed once.
    unsafe { ffi::shim_free(lines) };
    Ok(names)
}

/// Adds an operator to [`nondeterministic_operators`]: one that does not report itself.
///
/// # Errors
/// If the name cannot be passed on.
pub fn record_nondeterministic(operator: &str) -> Result<(), ShimError> {
    let operator = CString::new(operator).map_err(|e| ShimError(e.to_string()))?;
    // SAFETY: the string outlives the call.
    ffi::check(unsafe { ffi::shim_record_nondeterministic(operator.as_ptr()) })
}

/// Does what every libtorch operator without a deterministic implementation does when called.
///
/// # Errors
/// Libtorch's refusal under [`Determinism::Require`].
pub fn alert_not_deterministic(operator: &str) -> Result<(), ShimError> {
    let operator = CString::new(operator).map_err(|e| ShimError(e.to_string()))?;
    // SAFETY: the string outlives the call.
    ffi::check(unsafe { ffi::shim_alert_not_deterministic(operator.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    /// A single test, since the setting is global to the process.
    #[test]
    fn operators_are_collected_or_refused_by_name() {
        let put = || {
            let index = Tensor::from_slice(&[1i64, 1]);
            let source = Tensor::from_slice(&[1f32, 2.0]);
            // Which of two values is kept is documented as undefined, also on the CPU.
            Tensor::zeros([3], (tch::Kind::Float, tch::Device::Cpu)).f_put_(&index, &source, false)
        };
        drop(put().unwrap());
        assert_eq!(nondeterministic_operators().unwrap(), [""; 0]);
        set_determinism(Determinism::Warn).unwrap();
        for _ in 0..2 {
            drop(put().unwrap());
            alert_not_deterministic("a_kernel_of_ours").unwrap();
            record_nondeterministic("a_silent_one").unwrap();
        }
        let names = ["a_kernel_of_ours", "a_silent_one", "put_"];
        assert_eq!(nondeterministic_operators().unwrap(), names);
        set_determinism(Determinism::Require).unwrap();
        let error = put().unwrap_err().to_string();
        assert!(error.contains("put_ does not have a deterministic implementation"), "{error}");
        alert_not_deterministic("a_kernel_of_ours").unwrap_err();
        set_determinism(Determinism::Off).unwrap();
        drop(put().unwrap());
    }
}
