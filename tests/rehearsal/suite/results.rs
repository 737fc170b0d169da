//! Results are those of the CPU.

use rehearsal::Device;
use tch::{Device as Place, Kind, Tensor};

use crate::{CPU, CUDA, counting_up, inside};

#[test]
fn a_gradient_is_that_of_the_cpu() {
    let outcome = inside(&Device::new(), || {
        let of = |place| {
            let x = counting_up(place).set_requires_grad(true);
            let product = x.matmul(&x.transpose(0, 1)).softmax(-1, Kind::Float);
            (product * counting_up(place).mean(Kind::Float)).exp().sum(Kind::Float).backward();
            x.grad().to_device(Place::Cpu)
        };
        let (cpu, cuda) = (of(Place::Cpu), of(Place::Cuda(0)));
        assert!(cpu.abs().max().double_value(&[]) > 0.0);
        assert_eq!(cpu, cuda);
    });
    if let Some(outcome) = outcome {
        assert!(outcome.success().problems.is_empty());
    }
}

#[test]
fn views_share_memory_and_results_are_resized() {
    let outcome = inside(&Device::new(), || {
        let x = counting_up(Place::Cuda(0));
        let mut view = x.transpose(0, 1).narrow(0, 1, 1);
        let _ = view.g_add_scalar_(10.0);
        let expected = Tensor::from_slice(&[0.0f32, 11., 2., 3., 14., 5.]).view([2, 3]);
        assert_eq!(x.to_device(Place::Cpu), expected);
        assert_eq!(view.data_ptr() as usize, x.data_ptr() as usize + 4);
        let out = Tensor::empty([0], CUDA);
        let joined = Tensor::cat_out(&out, &[&x, &x], 0);
        assert_eq!((out.size(), joined.size()), (vec![4, 3], vec![4, 3]));
        assert_eq!(out.narrow(0, 2, 2).to_device(Place::Cpu), expected);
    });
    if let Some(outcome) = outcome {
        assert!(outcome.success().problems.is_empty());
    }
}

#[test]
fn values_go_between_devices() {
    let outcome = inside(&Device::new().devices(2), || {
        assert_eq!(tch::Cuda::device_count(), 2);
        let x = counting_up(Place::Cuda(1));
        assert_eq!(x.device(), Place::Cuda(1));
        let there = x.to_device(Place::Cuda(0)) + Tensor::ones([2, 3], CUDA);
        assert_eq!(
            there.to_device(Place::Cpu),
            counting_up(Place::Cpu) + Tensor::ones([2, 3], CPU)
        );
        assert_eq!((&x + 1.0).device(), Place::Cuda(1));
    });
    if let Some(outcome) = outcome {
        let statistics = outcome.success();
        assert!(statistics.problems.is_empty());
        assert!(statistics.peak_bytes[&1] > 0);
    }
}

#[test]
fn fresh_memory_is_no_number() {
    let outcome = inside(&Device::new(), || {
        let fresh = Tensor::empty([7], CUDA);
        assert!(fresh.isnan().all().int64_value(&[]) == 1);
        let whole = Tensor::empty([7], (Kind::Int64, Place::Cuda(0)));
        assert_eq!(whole.max().int64_value(&[]), -1);
    });
    if let Some(outcome) = outcome {
        drop(outcome.success());
    }
}
