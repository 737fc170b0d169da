//! Which of several kernels libtorch uses on CUDA.

use crate::{ShimError, ffi};

/// A kernel of `scaled_dot_product_attention` on CUDA, with libtorch's numeric codes
/// (`at::SDPBackend`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdpBackend {
    /// Matrix products and a softmax: holds every score.
    Math = 0,
    /// FlashAttention-2: 16 bits, one width of at most 256 for queries, keys and values, no mask.
    Flash = 1,
    /// xFormers' memory-efficient attention: also fp32 and masks.
    Efficient = 2,
    /// cuDNN's: 16 bits; builds a graph for each new shape.
    Cudnn = 3,
}

impl SdpBackend {
    const ALL: [Self; 4] = [Self::Math, Self::Flash, Self::Efficient, Self::Cudnn];
}

/// Sets the kernel that attention on CUDA uses where it fits, for the process. Where it does not, the
/// next slower one of flash, efficient and math is used; cuDNN only if it is named. `None` leaves the
/// choice to libtorch, which prefers cuDNN on Hopper.
///
/// Math stays allowed, so that no attention is refused. The CPU asks for flash attention only: a run on
/// the CPU needs `None`.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn set_sdp_backend(backend: Option<SdpBackend>) -> Result<(), ShimError> {
    let code = backend.map_or(-1, |backend| backend as i32);
    // SAFETY: plain values only.
    ffi::check(unsafe { ffi::shim_set_attention_backend(code) })
}

/// The kernels of attention that may be used.
#[must_use]
pub fn allowed_sdp_backends() -> Vec<SdpBackend> {
    // SAFETY: no arguments.
    let bits = unsafe { ffi::shim_attention_backends() };
    SdpBackend::ALL.into_iter().filter(|backend| bits & (1 << *backend as i32) != 0).collect()
}

/// Whether matrix products and convolutions of fp32 tensors on CUDA may round their operands to TF32
/// (10 bits of mantissa; sums stay fp32), for the process. libtorch allows it for convolutions only.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn set_tf32(allowed: bool) -> Result<(), ShimError> {
    // SAFETY: plain values only.
    ffi::check(unsafe { ffi::shim_set_tf32(allowed.into()) })
}

/// Whether TF32 is allowed in matrix products and in convolutions.
///
/// # Errors
/// Propagates errors from libtorch.
pub fn tf32() -> Result<(bool, bool), ShimError> {
    let (mut products, mut convolutions) = (0, 0);
    // SAFETY: the pointers outlive the call.
    ffi::check(unsafe { ffi::shim_tf32(&mut products, &mut convolutions) })?;
    Ok((products != 0, convolutions != 0))
}

/// While it exists, cuDNN times its algorithms at the first convolution of each shape and then uses the
/// fastest. Pays off where shapes repeat. Affects every thread, the autograd engine's among them.
#[derive(Debug)]
pub struct CudnnBenchmark {
    before: i32,
}

impl CudnnBenchmark {
    /// Enters the scope.
    #[must_use]
    pub fn enter() -> Self {
        // SAFETY: plain values only; the call sets a flag.
        Self { before: unsafe { ffi::shim_set_cudnn_benchmark(1) } }
    }
}

impl Drop for CudnnBenchmark {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { ffi::shim_set_cudnn_benchmark(self.before) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A single test, since the settings are global to the process.
    #[test]
    fn kernels_are_chosen_and_restored() {
        use SdpBackend::{Cudnn, Efficient, Flash, Math};
        for (backend, allowed) in [
            (Some(Flash), vec![Math, Flash, Efficient]),
            (Some(Cudnn), vec![Math, Flash, Efficient, Cudnn]),
            (Some(Efficient), vec![Math, Efficient]),
            (Some(Math), vec![Math]),
            (None, vec![Math, Flash, Efficient, Cudnn]),
        ] {
            set_sdp_backend(backend).unwrap();
            assert_eq!(allowed_sdp_backends(), allowed, "{backend:?}");
        }
        for allowed in [true, false] {
            set_tf32(allowed).unwrap();
            assert_eq!(tf32().unwrap(), (allowed, allowed));
        }
        let outer = CudnnBenchmark::enter();
        {
            let inner = CudnnBenchmark::enter();
            assert_eq!((outer.before, inner.before), (0, 1));
        }
        drop(outer);
        assert_eq!(CudnnBenchmark::enter().before, 0);
    }
}
