//! Sends what a step computes on the host to the device.

use sonotune_shim as shim;
use tch::{Device, Tensor};

/// A CPU tensor on `device`, without gradient. A GPU copies it when its turn comes, and this thread does not
/// wait; with [`Tensor::to_device`] it would, until everything queued before is done. A tensor that
/// is already on a GPU comes back as it is.
///
/// # Panics
/// As tch's plain methods do, if libtorch refuses, such as without memory; in a task's step or
/// prediction that becomes an error.
#[expect(clippy::panic, reason = "a task writes plain tch; the engine catches its panics")]
pub fn upload(tensor: &Tensor, device: Device) -> Tensor {
    shim::upload(tensor, device).unwrap_or_else(|error| panic!("{error}"))
}
