//! Launches, waits and copies are counted where they happen.

use rehearsal::{Device, Phase, Statistics};
use tch::{Device as Place, Kind, Tensor};

use crate::{CPU, counting_up, inside};

fn waits(phase: &Phase) -> Vec<(&str, u64, u64)> {
    phase.waits.iter().map(|event| (event.what.as_str(), event.times, event.bytes)).collect()
}

#[test]
fn each_wait_is_counted_in_its_phase() {
    let outcome = inside(&Device::new(), || {
        let x = counting_up(Place::Cuda(0));
        tch::manual_seed(1);
        // 1: nothing but kernels.
        let y = (&x * 2.0 + 1.0).matmul(&x.transpose(0, 1));
        tch::manual_seed(2);
        // 2: two values are read, a tensor comes back.
        let _ = (y.sum(Kind::Float).double_value(&[]), y.double_value(&[0, 0]));
        let _ = y.to_device(Place::Cpu);
        tch::manual_seed(3);
        // 3: operators that wait without being asked.
        let _ = (
            y.nonzero(),
            y.masked_select(&y.gt(0.0)),
            x.index(&[Some(Tensor::from_slice(&[0i64]))]),
        );
        tch::manual_seed(4);
        // 4: a tensor is sent.
        let _ = Tensor::ones([5], CPU).to_device(Place::Cuda(0));
    });
    let Some(outcome) = outcome else { return };
    let statistics = outcome.success();
    assert_eq!(statistics.phase(1).num_waits(), 0);
    assert_eq!(statistics.phase(1).num_launches(), 3, "{:?}", statistics.phase(1));
    let two = statistics.phase(2);
    assert_eq!(waits(&two), [("copy to the host", 1, 16), ("read of a value", 2, 8)]);
    let three = statistics.phase(3);
    assert_eq!(three.num_waits(), 3, "{:?}", three.waits);
    assert!(
        three.waits.iter().any(|wait| wait.what.contains("copies an index tensor from the host"))
    );
    assert_eq!(waits(&statistics.phase(4)), [("copy to the device", 1, 20)]);
}

#[test]
fn a_copy_from_pinned_memory_does_not_wait_and_must_not_be_disturbed() {
    let outcome = inside(&Device::new(), || {
        let pinned = Tensor::ones([64], CPU).pin_memory(Place::Cuda(0));
        let send = || pinned.to_device_(Place::Cuda(0), Kind::Float, true, true);
        tch::manual_seed(1);
        assert_eq!(send().sum(Kind::Float).double_value(&[]), 64.0);
        tch::manual_seed(2);
        let _there = send();
        let _ = pinned.shallow_clone().fill_(7.0);
    });
    let Some(outcome) = outcome else { return };
    let statistics = outcome.success();
    let one = statistics.phase(1);
    assert_eq!((one.num_copies(), one.num_waits()), (1, 1), "{one:?}");
    assert_eq!(statistics.problems.len(), 1);
    assert!(statistics.problems.keys().all(|text| text.contains("pinned memory was written")));
}

#[test]
fn a_copy_that_is_not_to_wait_does_so_without_pinned_memory() {
    let outcome = inside(&Device::new(), || {
        tch::manual_seed(1);
        let there = Tensor::ones([64], CPU).to_device_(Place::Cuda(0), Kind::Float, true, true);
        tch::manual_seed(2);
        // libtorch takes pinned memory for the result: it is not there before the next wait.
        let back = there.to_device_(Place::Cpu, Kind::Float, true, true);
        assert_eq!(back.isnan().all().int64_value(&[]), 1);
        tch::manual_seed(3);
        let _ = there.double_value(&[0]);
        assert_eq!(back, Tensor::ones([64], CPU));
    });
    let Some(outcome) = outcome else { return };
    let statistics = outcome.success();
    let one = statistics.phase(1);
    assert_eq!((one.num_waits(), one.num_copies()), (1, 0), "{one:?}");
    assert!(one.waits[0].what.contains("not pinned"), "{one:?}");
    let two = statistics.phase(2);
    assert_eq!((two.num_waits(), two.num_copies()), (0, 1), "{two:?}");
}

#[test]
fn attention_says_which_kernel_it_takes() {
    let outcome = inside(&Device::new(), || {
        let attend = |kind, size| {
            let q = Tensor::ones([1, 2, 4, size], (kind, Place::Cuda(0)));
            let _ = Tensor::scaled_dot_product_attention(
                &q,
                &q,
                &q,
                None::<Tensor>,
                0.0,
                false,
                None,
                false,
            );
        };
        tch::manual_seed(1);
        attend(Kind::BFloat16, 64);
        tch::manual_seed(2);
        attend(Kind::Float, 64);
        tch::manual_seed(3);
        attend(Kind::Float, 3);
    });
    let Some(outcome) = outcome else { return };
    let statistics = outcome.success();
    let kernel = |phase| statistics.phase(phase).attention[0].what.clone();
    assert!(kernel(1).starts_with("cudnn q [1, 2, 4, 64]"), "{}", kernel(1));
    assert!(kernel(2).starts_with("efficient"), "{}", kernel(2));
    assert!(kernel(3).starts_with("math"), "{}", kernel(3));
}

#[test]
fn a_wait_names_its_place() {
    let outcome = inside(&Device::new().places(), || {
        tch::manual_seed(1);
        let _ = counting_up(Place::Cuda(0)).sum(Kind::Float).double_value(&[]);
    });
    let Some(outcome) = outcome else { return };
    let statistics: Statistics = outcome.success();
    let reads = statistics.phase(1).waits;
    let read = reads.iter().find(|wait| wait.what == "read of a value").unwrap();
    assert!(read.stack.len() > 3, "{read:?}");
    let place = &rehearsal::places(std::slice::from_ref(read))[0];
    assert!(place.starts_with("tests/rehearsal/suite/counting.rs:"), "{place}: {read:?}");
}
