//! Moves tensors between host and device without making the host wait, by way of pinned memory.

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::{ShimError, ffi};

/// `tensor` on `device`. On a GPU the copy is queued like any other work: neither this thread nor what
/// was queued before waits for it, and what is queued afterwards finds the values. Without
/// gradient. A tensor that is already there, or goes to the CPU, comes back as it is.
///
/// # Errors
/// Propagates errors from libtorch, including out of memory.
pub fn upload(tensor: &Tensor, device: Device) -> Result<Tensor, ShimError> {
    let Device::Cuda(index) = device else { return Ok(tensor.shallow_clone()) };
    if tensor.device() != Device::Cpu {
        return Ok(tensor.shallow_clone());
    }
    new_tensor(|out| {
        // SAFETY: a live tensor; `out` receives a new one.
        unsafe { ffi::shim_upload(tensor.as_ptr().cast_mut(), index as i32, out) }
    })
}

/// The tensors on `device`, which all lie on the CPU. On a GPU a stream of their own copies them while
/// the device still computes what was queued before; what is queued afterwards waits for them.
///
/// # Errors
/// Propagates errors from libtorch, including out of memory.
pub fn upload_ahead(tensors: &[&Tensor], device: Device) -> Result<Vec<Tensor>, ShimError> {
    let Device::Cuda(index) = device else {
        return Ok(tensors.iter().map(|tensor| tensor.shallow_clone()).collect());
    };
    let sources = ffi::handles(tensors.iter().copied());
    new_tensors(tensors.len(), |out| {
        // SAFETY: live tensors; `out` receives as many new ones.
        unsafe { ffi::shim_upload_ahead(sources.len(), sources.as_ptr(), index as i32, out) }
    })
}

/// Copies of the tensors in CPU memory. The host waits once for all of them.
///
/// # Errors
/// Propagates errors from libtorch, including out of memory.
pub fn download(tensors: &[&Tensor]) -> Result<Vec<Tensor>, ShimError> {
    let sources = ffi::handles(tensors.iter().copied());
    new_tensors(tensors.len(), |out| {
        // SAFETY: live tensors; `out` receives as many new ones.
        unsafe { ffi::shim_download(sources.len(), sources.as_ptr(), out) }
    })
}

/// The CPU tensor in pinned memory, from which [`upload`] needs no further copy.
///
/// # Errors
/// If CUDA is not loaded, or there is no memory.
pub fn pin(tensor: &Tensor) -> Result<Tensor, ShimError> {
    new_tensor(|out| {
        // SAFETY: a live tensor; `out` receives a new one.
        unsafe { ffi::shim_pin(tensor.as_ptr().cast_mut(), out) }
    })
}

/// Bytes to fill and then to use as a tensor.
#[derive(Debug)]
pub struct HostBytes(Tensor);

impl HostBytes {
    /// `length` bytes of arbitrary content; in pinned memory if a GPU will read them.
    ///
    /// # Errors
    /// If there is no memory, or pinned memory is wanted and CUDA is not loaded.
    pub fn new(length: usize, pinned: bool) -> Result<Self, ShimError> {
        let length = i64::try_from(length).map_err(|_| ShimError("too many bytes".to_owned()))?;
        let tensor = new_tensor(|out| {
            // SAFETY: plain values; `out` receives a new tensor.
            unsafe { ffi::shim_host_bytes(length, i32::from(pinned), out) }
        })?;
        Ok(Self(tensor))
    }

    /// The bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let length = self.0.numel();
        if length == 0 {
            return &mut [];
        }
        // SAFETY: a contiguous u8 tensor of the CPU that is not shared. libtorch does not initialise its
        // bytes, but every value of a byte is valid and the pages are the process's own.
        unsafe { std::slice::from_raw_parts_mut(self.0.data_ptr().cast(), length) }
    }

    /// They as a u8 tensor of `sizes`.
    ///
    /// # Errors
    /// If `sizes` do not multiply to the number of bytes.
    pub fn into_tensor(self, sizes: &[i64]) -> Result<Tensor, tch::TchError> {
        self.0.f_view(sizes)
    }
}

fn new_tensor(
    call: impl FnOnce(*mut *mut C_tensor) -> *mut std::ffi::c_char,
) -> Result<Tensor, ShimError> {
    let mut out = std::ptr::null_mut();
    ffi::check(call(&mut out))?;
    // SAFETY: without a message, `call` has written a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

fn new_tensors(
    count: usize,
    call: impl FnOnce(*mut *mut C_tensor) -> *mut std::ffi::c_char,
) -> Result<Vec<Tensor>, ShimError> {
    let mut out = vec![std::ptr::null_mut(); count];
    ffi::check(call(out.as_mut_ptr()))?;
    // SAFETY: without a message, `call` has written `count` new tensors that nobody else owns.
    Ok(out.into_iter().map(|tensor| unsafe { Tensor::from_ptr(tensor) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_a_tensor_without_a_copy() {
        let mut bytes = HostBytes::new(6, false).unwrap();
        bytes.as_mut_slice().copy_from_slice(&[1, 2, 3, 4, 5, 6]);
        let at = bytes.as_mut_slice().as_ptr();
        let tensor = bytes.into_tensor(&[2, 3]).unwrap();
        assert_eq!(tensor.data_ptr().cast_const().cast(), at);
        assert_eq!(Vec::<u8>::try_from(tensor.get(1)).unwrap(), [4, 5, 6]);
        assert_eq!(HostBytes::new(0, false).unwrap().as_mut_slice(), [0u8; 0]);
        assert!(HostBytes::new(6, false).unwrap().into_tensor(&[4]).is_err());
    }

    #[test]
    fn on_the_cpu_uploading_shares_and_downloading_copies() {
        let tensor = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]).tr();
        let there = upload(&tensor, Device::Cpu).unwrap();
        assert_eq!(there.data_ptr(), tensor.data_ptr());
        let copies = download(&[&tensor, &tensor.get(0)]).unwrap();
        assert!(copies[0].equal(&tensor) && copies[1].equal(&tensor.get(0)));
        assert_ne!(copies[0].data_ptr(), tensor.data_ptr());
        assert_eq!(copies[0].stride(), tensor.stride());
    }
}
