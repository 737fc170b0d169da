//! CUDA at run time: one binary serves machines with and without a GPU.

use std::sync::OnceLock;

use crate::{ShimError, ffi};

/// Peaks since the last reset and the device's current figures, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CudaMemory {
    pub allocated_peak: i64,
    pub reserved_peak: i64,
    pub free: i64,
    pub total: i64,
}

/// Loads libtorch's CUDA libraries into the process, once. Must come before any CUDA query of tch:
/// the first `Cuda::is_available()` without it caches "no" permanently.
///
/// # Errors
/// The loader's message when `libtorch_cuda.so` or one of its dependencies is missing.
pub fn load_cuda() -> Result<(), ShimError> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
            // SAFETY: libtorch's own library; its initialisers register kernels with the dispatcher.
            let library =
                unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
            // Never unloaded: the dispatcher keeps pointers into it.
            library.map(std::mem::forget).map_err(|e| e.to_string())
        })
        .clone()
        .map_err(ShimError)
}

/// Memory statistics of CUDA device `index`.
///
/// # Errors
/// Propagates errors from libtorch; always fails without a CUDA device.
pub fn cuda_memory(index: usize) -> Result<CudaMemory, ShimError> {
    let mut memory = CudaMemory::default();
    // SAFETY: the pointers outlive the call.
    ffi::check(unsafe {
        ffi::shim_cuda_memory(
            index as i32,
            &mut memory.allocated_peak,
            &mut memory.reserved_peak,
            &mut memory.free,
            &mut memory.total,
        )
    })?;
    Ok(memory)
}

/// Resets the peaks of CUDA device `index`.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn cuda_reset_peak(index: usize) -> Result<(), ShimError> {
    // SAFETY: plain values only.
    ffi::check(unsafe { ffi::shim_cuda_reset_peak(index as i32) })
}

/// Returns cached, unused CUDA memory to the driver.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn cuda_empty_cache() -> Result<(), ShimError> {
    // SAFETY: no arguments.
    ffi::check(unsafe { ffi::shim_cuda_empty_cache() })
}
