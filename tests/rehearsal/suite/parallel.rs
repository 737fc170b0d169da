//! Data parallel on two ranks, each a process with one device, by what stands in for NCCL.

use std::{thread, time::Duration};

use rehearsal::{Device, Outcome};
use sonotune_shim::{ProcessGroup, ReduceOp, Reducer, Store, clear_grads};
use tch::{Device as Place, Kind, Tensor};

use crate::{CUDA, inside};

const RANK: &str = "REHEARSAL_TEST_RANK";
const PORT: &str = "REHEARSAL_TEST_PORT";
const HOST: &str = "127.0.0.1";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Calls `run`, which is to call [`inside`], for both ranks; `None` in their processes.
fn on_two_ranks(run: impl Fn(&Device) -> Option<Outcome> + Sync) -> Option<Vec<Outcome>> {
    if std::env::var(RANK).is_ok() {
        return run(&Device::new()).map(|outcome| vec![outcome]);
    }
    let store = Store::tcp(HOST, 0, true, TIMEOUT).unwrap();
    let device = Device::new().variable(PORT, store.port().to_string());
    thread::scope(|scope| {
        let ranks = ["0", "1"].map(|rank| {
            let device = device.clone().variable(RANK, rank);
            scope.spawn(|| {
                let device = device;
                run(&device)
            })
        });
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// The group of a rank's process.
fn group() -> ProcessGroup {
    let variable = |name: &str| std::env::var(name).unwrap();
    let store = Store::tcp(HOST, variable(PORT).parse().unwrap(), false, TIMEOUT).unwrap();
    ProcessGroup::nccl(&store, variable(RANK).parse().unwrap(), 2, TIMEOUT, 0).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let host = tensor.detach().to_device(Place::Cpu).to_kind(Kind::Double);
    Vec::try_from(host.flatten(0, -1)).unwrap()
}

#[track_caller]
fn assert_no_problems(outcomes: Option<Vec<Outcome>>) {
    for outcome in outcomes.unwrap_or_default() {
        let statistics = outcome.success();
        assert!(statistics.problems.is_empty(), "{:?}", statistics.problems);
    }
}

#[test]
fn collectives_run_between_devices() {
    assert_no_problems(on_two_ranks(|device| {
        inside(device, || {
            let group = group();
            let rank = group.rank() as f64;
            let sum = Tensor::full([1000], rank + 1.0, CUDA);
            group.all_reduce(&sum, ReduceOp::Sum).unwrap();
            assert_eq!(values(&sum), [3.0; 1000]);
            let max = Tensor::full([3], rank, (Kind::Int64, Place::Cuda(0)));
            group.all_reduce(&max, ReduceOp::Max).unwrap();
            assert_eq!(values(&max), [1.0; 3]);
            let tensors = [Tensor::full([2, 3], rank, CUDA), Tensor::full([4], rank + 5.0, CUDA)];
            group.verify_parameters(&tensors).unwrap();
            group.broadcast(&tensors, 1).unwrap();
            assert_eq!((values(&tensors[0]), values(&tensors[1])), (vec![1.0; 6], vec![6.0; 4]));
            // The host's memory is Gloo's.
            let host = Tensor::from(rank + 1.0);
            group.all_reduce(&host, ReduceOp::Sum).unwrap();
            assert_eq!(values(&host), [3.0]);
            assert_eq!(group.all_gather_bytes(&[rank as u8]).unwrap(), [[0], [1]]);
        })
    }));
}

#[test]
fn a_result_that_is_used_before_it_is_waited_for_is_a_problem() {
    let outcomes = on_two_ranks(|device| {
        inside(device, || {
            let group = group();
            let value = Tensor::ones([5], CUDA);
            let pending = group.start_all_reduce(value.shallow_clone(), ReduceOp::Sum).unwrap();
            let early = &value + 1.0;
            drop((pending.wait().unwrap(), early));
        })
    });
    for outcome in outcomes.unwrap_or_default() {
        let problems = outcome.success().problems;
        let early = "reads what was written on stream 1 without waiting";
        assert!(problems.keys().any(|text| text.contains(early)), "{problems:?}");
    }
}

const IMAGES: i64 = 8;

/// Weights of two layers and one that is used by rank 1 alone.
fn parameters() -> Vec<(String, Tensor)> {
    let shapes: [&[i64]; 3] = [&[6, 4], &[4, 3], &[4]];
    let new = |(index, shape): (usize, &&[i64])| {
        let count = shape.iter().product::<i64>();
        let values = (Tensor::arange(count, (Kind::Float, Place::Cpu)) + index as f64).sin();
        let values = values.reshape(*shape).to_device(Place::Cuda(0));
        (format!("parameter {index}"), values.set_requires_grad(true))
    };
    shapes.iter().enumerate().map(new).collect()
}

fn loss(parameters: &[(String, Tensor)], from: i64, to: i64, with_last: bool) -> Tensor {
    let images = (Tensor::arange(IMAGES * 6, (Kind::Float, Place::Cpu)) * 0.3).cos();
    let images = images.reshape([IMAGES, 6]).to_device(Place::Cuda(0));
    let hidden = images.narrow(0, from, to - from).matmul(&parameters[0].1).tanh();
    let loss = hidden.matmul(&parameters[1].1).square().sum(Kind::Float);
    if with_last { loss + (hidden * &parameters[2].1).sum(Kind::Float) } else { loss }
}

#[test]
fn gradients_are_summed_while_the_device_computes() {
    assert_no_problems(on_two_ranks(|device| {
        inside(device, || {
            let group = group();
            let rank = group.rank() as i64;
            let whole = parameters();
            (loss(&whole, 0, IMAGES / 2, false) + loss(&whole, IMAGES / 2, IMAGES, true))
                .backward();
            let own = parameters();
            let tensors: Vec<_> = own.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
            // A bucket for each parameter.
            let mut reducer = Reducer::new(&own, &group, 1).unwrap();
            assert_eq!(reducer.buckets().len(), 3);
            for _ in 0..3 {
                clear_grads(&tensors).unwrap();
                reducer.prepare().unwrap();
                let from = rank * IMAGES / 2;
                loss(&own, from, from + IMAGES / 2, rank == 1).backward();
                assert_eq!(reducer.finish().unwrap(), [true, true, rank == 1]);
                for ((_, own), (_, whole)) in own.iter().zip(&whole) {
                    for (a, b) in values(&own.grad()).iter().zip(values(&whole.grad())) {
                        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} and {b}");
                    }
                }
            }
        })
    }));
}
