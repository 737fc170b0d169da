//! The device's own tests: that it computes right, refuses what a GPU refuses, and counts what it should.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod counting;
mod memory;
mod mistakes;
mod parallel;
mod results;
mod streams;

use rehearsal::{Device, Outcome};
use tch::{Device as Place, Kind, Tensor};

const CUDA: (Kind, Place) = (Kind::Float, Place::Cuda(0));
const CPU: (Kind, Place) = (Kind::Float, Place::Cpu);

/// Runs a test's body on a device, with libtorch's CUDA half loaded.
fn inside<F: FnOnce()>(device: &Device, body: F) -> Option<Outcome> {
    rehearsal::inside(device, || sonotune_shim::load_cuda().unwrap(), body)
}

/// 0, 1, 2, … with the shape `[2, 3]`.
fn counting_up(device: Place) -> Tensor {
    Tensor::arange(6, (Kind::Float, Place::Cpu)).view([2, 3]).to_device(device)
}
