//! Safe wrappers for parts of libtorch that tch does not cover: bf16 autocast, fused optimiser steps,
//! clipping without a host sync, attention and sampling kernels for the CPU, determinism, the choice of
//! CUDA's kernels, loading of CUDA, copies that nobody waits for, memory statistics, and data parallel by c10d.
//!
//! The only crate of the workspace that may use `unsafe`.

mod adopt;
mod attention;
mod backends;
mod checkpoint;
mod cuda;
mod deformable;
mod determinism;
mod distributed;
mod ffi;
mod graph;
mod memory;
mod optim;
mod short_waits;
mod threads;
mod transfer;

use tch::Device;

pub use adopt::tensor_from_vec;
pub use attention::{RelPosAttention, rel_pos_attention};
pub use backends::{
    CudnnBenchmark, SdpBackend, allowed_sdp_backends, set_sdp_backend, set_tf32, tf32,
};
pub use checkpoint::checkpoint;
pub use cuda::{
    CudaMemory, cuda_empty_cache, cuda_has_bf16, cuda_memory, cuda_reset_peak, load_cuda,
    number_cuda_devices_by_bus, select_cuda_device,
};
pub use deformable::{
    ms_deform_attn, ms_deform_attn_composite, point_sample, point_sample_composite,
};
pub use determinism::{
    Determinism, alert_not_deterministic, nondeterministic_operators, record_nondeterministic,
    set_determinism,
};
pub use distributed::{Bucket, Pending, ProcessGroup, ReduceOp, Reducer, Store};
pub use graph::{Body, Constant, Graph, Node, Recording, Script, Value, kind_of};
pub use memory::keep_freed_memory;
pub use optim::{
    AdamW, AdamWTensors, Sgd, SgdTensors, clear_grads, fused_adamw, fused_sgd, lerp, scale,
    total_norm,
};
pub use short_waits::ShortWaits;
pub use threads::compute_alone;
pub use transfer::{HostBytes, download, pin, upload, upload_ahead};

/// A failed libtorch call, with libtorch's message.
#[derive(Debug, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct ShimError(pub(crate) String);

/// Version of the libtorch this binary was compiled against, e.g. `2.11.0`.
#[must_use]
pub fn torch_version() -> String {
    ffi::torch_version()
}

/// The 16-bit formats that autocast supports, with libtorch's numeric codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowPrecision {
    Half = 5,
    BFloat16 = 15,
}

/// While it exists, libtorch computes matrix products and convolutions on `device` in 16 bits
/// and keeps reductions in fp32. tch's own `autocast` supports only CUDA and fp16.
#[derive(Debug)]
pub struct Autocast {
    device_type: i32,
    previous_enabled: i32,
    previous_dtype: i32,
}

impl Autocast {
    /// Enters the scope.
    ///
    /// # Errors
    /// Propagates errors from libtorch, e.g. for a format that the device cannot autocast to.
    pub fn enter(device: Device, kind: LowPrecision) -> Result<Self, ShimError> {
        let device_type = i32::from(device.is_cuda());
        let mut scope = Self { device_type, previous_enabled: 0, previous_dtype: 0 };
        // SAFETY: the two pointers outlive the call.
        ffi::check(unsafe {
            ffi::shim_autocast_enter(
                device_type,
                kind as i32,
                &mut scope.previous_enabled,
                &mut scope.previous_dtype,
            )
        })?;
        Ok(scope)
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: plain values only. Restoring known-good settings cannot fail in a way that a
        // destructor could act on.
        let message = unsafe {
            ffi::shim_autocast_leave(self.device_type, self.previous_enabled, self.previous_dtype)
        };
        drop(ffi::check(message));
    }
}
