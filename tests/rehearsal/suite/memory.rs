//! Memory that ends.

use rehearsal::Device;
use tch::{Device as Place, Kind, Tensor};

use crate::{CUDA, inside};

const MIB: u64 = 1 << 20;

#[test]
fn memory_that_ends_is_told_in_libtorchs_words() {
    let outcome = inside(&Device::new().memory_bytes(64 * MIB).held_bytes(16 * MIB), || {
        let memory = sonotune_shim::cuda_memory(0).unwrap();
        assert_eq!((memory.total, memory.free), (64 << 20, 48 << 20));
        let first = Tensor::zeros([10 << 20], (Kind::Uint8, Place::Cuda(0)));
        let error =
            Tensor::f_zeros([40 << 20], (Kind::Uint8, Place::Cuda(0))).unwrap_err().to_string();
        for part in [
            "CUDA out of memory. Tried to allocate 40.00 MiB. GPU 0 has a total capacity of 64.00 MiB",
            "of which 38.00 MiB is free",
            "has 16.00 MiB memory in use",
        ] {
            assert!(error.contains(part), "{error}");
        }
        // What is freed can be used again.
        drop(first);
        let _ = Tensor::zeros([48 << 20], (Kind::Uint8, Place::Cuda(0)));
        let memory = sonotune_shim::cuda_memory(0).unwrap();
        assert_eq!((memory.allocated_peak, memory.free), (48 << 20, 0));
        sonotune_shim::cuda_empty_cache().unwrap();
        assert_eq!(sonotune_shim::cuda_memory(0).unwrap().free, 48 << 20);
    });
    if let Some(outcome) = outcome {
        assert_eq!(outcome.success().peak_bytes[&0], 48 << 20);
    }
}

#[test]
fn fragmented_memory_ends_in_a_later_phase() {
    let outcome = inside(&Device::new().memory_bytes(8 * MIB).fragmented_from_phase(2), || {
        let step = || Tensor::f_zeros([1 << 20], (Kind::Float, Place::Cuda(0)));
        tch::manual_seed(1);
        for _ in 0..8 {
            drop(step().unwrap());
        }
        tch::manual_seed(2);
        drop(step().unwrap());
        assert!(step().unwrap_err().to_string().contains("out of memory"));
    });
    if let Some(outcome) = outcome {
        drop(outcome.success());
    }
}

#[test]
fn without_a_device_there_is_none() {
    let outcome = inside(&Device::new().devices(0), || {
        assert!(!tch::Cuda::is_available());
        assert!(Tensor::f_zeros([1], CUDA).is_err());
    });
    if let Some(outcome) = outcome {
        drop(outcome.success());
    }
}

#[test]
fn a_driver_that_is_too_old_is_warned_of() {
    let output = Device::new().old_driver().command(rehearsal::checks()).arg("no_device").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("NVIDIA driver on your system is too old"), "{text}");
}
