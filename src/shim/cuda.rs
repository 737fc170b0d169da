//! CUDA at run time: one binary serves machines with and without a GPU.

use std::sync::OnceLock;

use crate::{ShimError, ffi};

/// Peaks since the last reset and the device's current figures, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CudaMemory {
    pub allocated_peak: i64,
    pub reserved_peak: i64,
    /// What the process holds of the device's memory.
    pub reserved: i64,
    pub free: i64,
    pub total: i64,
}

/// Makes CUDA number devices as `nvidia-smi` does, by their place on the PCI bus (CUDA's own default is
/// the fastest first), unless `CUDA_DEVICE_ORDER` says otherwise. Call it first thing in `main`: an
/// environment variable can be set safely only while no other thread could read it, so that in a process
/// with several threads nothing happens.
pub fn number_cuda_devices_by_bus() {
    const NAME: &str = "CUDA_DEVICE_ORDER";
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads == 1 && std::env::var_os(NAME).is_none() {
        // SAFETY: this is the only thread.
        unsafe { std::env::set_var(NAME, "PCI_BUS_ID") };
    }
}

/// Loads libtorch's CUDA libraries into the process, once. Must come before any CUDA query of tch:
/// the first `Cuda::is_available()` without it caches "no" permanently.
///
/// The allocator then uses segments that can grow, since images and objects of varying sizes fragment
/// fixed ones; unless the environment configures it, or on Windows (WSL), whose driver lacks them.
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
            library.map(std::mem::forget).map_err(|e| e.to_string())?;
            let configured =
                ALLOCATOR_VARIABLES.iter().any(|name| std::env::var_os(name).is_some());
            if configured || !std::path::Path::new("/dev/nvidiactl").exists() {
                return Ok(());
            }
            set_allocator(c"expandable_segments:True").map_err(|error| error.to_string())
        })
        .clone()
        .map_err(ShimError)
}

/// What configures libtorch's allocators.
const ALLOCATOR_VARIABLES: [&str; 2] = ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"];

/// Configures the device's allocator, in the words of `PYTORCH_CUDA_ALLOC_CONF`.
fn set_allocator(settings: &std::ffi::CStr) -> Result<(), ShimError> {
    // SAFETY: the string outlives the call.
    ffi::check(unsafe { ffi::shim_set_allocator(settings.as_ptr()) })
}

/// Makes CUDA device `index` the one that this thread allocates on and asks about if a call names none.
/// Threads begin with device 0.
///
/// # Errors
/// Propagates errors from libtorch; always fails without a CUDA device.
pub fn select_cuda_device(index: usize) -> Result<(), ShimError> {
    // SAFETY: plain values only.
    ffi::check(unsafe { ffi::shim_select_cuda_device(index as i32) })
}

/// Whether this thread's CUDA device computes in bf16 and TF32 (compute capability 8.0 and above).
///
/// # Errors
/// Propagates errors from libtorch.
pub fn cuda_has_bf16() -> Result<bool, ShimError> {
    let mut has = 0;
    // SAFETY: the pointer outlives the call.
    ffi::check(unsafe { ffi::shim_cuda_has_bf16(&mut has) })?;
    Ok(has != 0)
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
            &mut memory.reserved,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_takes_the_setting() {
        let expandable = || {
            let mut value = 0;
            // SAFETY: the pointer outlives the call.
            ffi::check(unsafe { ffi::shim_allocator_is_expandable(&mut value) }).unwrap();
            value != 0
        };
        set_allocator(c"expandable_segments:True").unwrap();
        assert!(expandable());
        set_allocator(c"expandable_segments:False").unwrap();
        assert!(!expandable());
        assert!(set_allocator(c"expandable_segments:perhaps").is_err());
    }

    #[test]
    fn no_variable_is_set_beside_other_threads() {
        let before = std::env::var_os("CUDA_DEVICE_ORDER");
        // Tests run in threads of their own.
        number_cuda_devices_by_bus();
        assert_eq!(std::env::var_os("CUDA_DEVICE_ORDER"), before);
    }
}
