//! Activation checkpointing: intermediate results are computed again in backward instead of being
//! kept.

use std::{
    ffi::{CString, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::{ShimError, ffi};

type Body = Box<dyn Fn(&Tensor) -> Result<Tensor, String> + Send>;

/// Returns `body(input)` and keeps only `input` for backward. Backward runs `body` again, with the
/// same autocast setting, and adds to the gradients of all leaf variables it uses: call
/// `backward()` on the loss, not a function that returns gradients of chosen tensors. `body` must
/// compute the same both times, so it must not draw random numbers.
///
/// # Errors
/// Propagates errors from `body` and libtorch.
pub fn checkpoint(
    input: &Tensor,
    body: impl Fn(&Tensor) -> Result<Tensor, String> + Send + 'static,
) -> Result<Tensor, ShimError> {
    // Boxed twice: C++ holds a thin pointer.
    let body: Box<Body> = Box::new(Box::new(body));
    let mut out = std::ptr::null_mut();
    // SAFETY: C++ owns the closure from here on and drops it once; `out` is written on success.
    ffi::check(unsafe {
        ffi::shim_checkpoint(
            input.as_ptr().cast_mut(),
            Box::into_raw(body).cast(),
            call,
            drop_body,
            &mut out,
        )
    })?;
    // SAFETY: a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// # Safety
/// `data` is a live `Box<Body>`, `input` a live tensor, `out` writable.
unsafe extern "C" fn call(
    data: *mut c_void,
    input: *mut C_tensor,
    out: *mut *mut C_tensor,
) -> *mut c_char {
    // A panic must not cross into C++.
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see above; the clone shares the tensor without owning C++'s handle.
        let (body, input) = unsafe { (&*data.cast::<Body>(), Tensor::clone_from_ptr(input)) };
        body(&input)
    }));
    let message = match result {
        Ok(Ok(tensor)) => {
            // SAFETY: writable, see above. C++ takes the handle over.
            unsafe { *out = tensor.as_ptr().cast_mut() };
            std::mem::forget(tensor);
            return std::ptr::null_mut();
        }
        Ok(Err(message)) => message,
        Err(_) => "a checkpointed computation panicked".to_owned(),
    };
    // SAFETY: C++ frees the message with `free`, so it comes from `strdup`.
    unsafe { ffi::strdup(CString::new(message).unwrap_or_default().as_ptr()) }
}

/// # Safety
/// `data` is a `Box<Body>` that is no longer used.
unsafe extern "C" fn drop_body(data: *mut c_void) {
    // SAFETY: see above.
    drop(unsafe { Box::from_raw(data.cast::<Body>()) });
}
