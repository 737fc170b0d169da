//! Tensors as bytes.

use std::io;

use anyhow::Result;
use tch::{Device, Tensor};

/// A tensor that cannot be read, as an error of writing the file.
pub(super) fn in_tensor(name: &str, error: &anyhow::Error) -> io::Error {
    io::Error::other(format!("tensor `{name}`: {error:#}"))
}

/// Little-endian bytes of a tensor's elements in row-major order.
pub fn bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let numel = tensor.numel();
    let mut bytes = vec![0; numel * tensor.f_kind()?.elt_size_in_bytes()];
    if numel > 0 {
        tensor.f_copy_data_u8(&mut bytes, numel)?;
    }
    Ok(bytes)
}
