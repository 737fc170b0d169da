use super::*;
use crate::{checkpoint, clear_grads};

/// A small network: two linear layers, and a head that only some batches use.
struct Net {
    parameters: Vec<(String, Tensor)>,
}

const IMAGES: i64 = 12;

impl Net {
    fn new() -> Self {
        // Without a generator, which threads would share.
        let parameter = |name: &str, sizes: &[i64]| {
            let n = sizes.iter().product::<i64>();
            let values = (Tensor::arange(n, CPU64) * 0.7 + name.len() as f64).sin();
            (name.to_owned(), values.reshape(sizes).set_requires_grad(true))
        };
        let parameters = vec![
            parameter("first", &[8, 6]),
            parameter("second.", &[6, 8]),
            parameter("head..", &[6, 3]),
            parameter("unused...", &[5]),
        ];
        Self { parameters }
    }

    fn get(&self, index: usize) -> &Tensor {
        &self.parameters[index].1
    }

    /// Sum over images `from..to` of the loss of each.
    fn loss(&self, from: i64, to: i64, with_head: bool) -> Tensor {
        let images = (Tensor::arange(IMAGES * 8, CPU64) * 0.3).cos().reshape([IMAGES, 8]);
        let hidden = images.narrow(0, from, to - from).matmul(self.get(0)).tanh();
        let weight = self.get(1).shallow_clone();
        // Its backward is re-entrant.
        let wide = checkpoint(&hidden, move |x| Ok(x.matmul(&weight).sin())).unwrap();
        let loss = wide.square().sum(Kind::Double);
        if with_head { loss + hidden.matmul(self.get(2)).square().sum(Kind::Double) } else { loss }
    }

    fn gradients(&self) -> Vec<Option<Vec<f64>>> {
        self.parameters
            .iter()
            .map(|(_, parameter)| parameter.grad())
            .map(|gradient| gradient.defined().then(|| values(&gradient)))
            .collect()
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|(_, parameter)| parameter.shallow_clone()).collect()
    }
}

/// Images of a rank.
fn share(group: &ProcessGroup, images: i64) -> (i64, i64) {
    let (rank, n) = (group.rank() as i64, group.world_size() as i64);
    (rank * images / n, (rank + 1) * images / n)
}

fn assert_close(got: &[Option<Vec<f64>>], expected: &[Option<Vec<f64>>]) {
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        let (got, expected) = (got.as_ref().unwrap(), expected.clone());
        // The reducer gives zeros to a parameter that no rank reached.
        let expected = expected.unwrap_or_else(|| vec![0.0; got.len()]);
        for (a, b) in got.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-13 * b.abs().max(1.0), "parameter {index}: {a} and {b}");
        }
    }
}

#[test]
fn sums_over_ranks_are_the_gradients_of_the_whole_batch() {
    let whole = Net::new();
    whole.loss(0, IMAGES, true).backward();
    for world_size in 1..=3 {
        let results = on_ranks(world_size, |group| {
            let net = Net::new();
            let mut reducer = Reducer::new(&net.parameters, group, 1 << 20).unwrap();
            let mut steps = Vec::new();
            for _ in 0..3 {
                clear_grads(&net.tensors()).unwrap();
                let (from, to) = share(group, IMAGES);
                reducer.prepare().unwrap();
                net.loss(from, to, true).backward();
                let reached = reducer.finish().unwrap();
                assert_eq!(reached, [true, true, true, false]);
                steps.push(net.gradients());
            }
            steps
        });
        assert_close(&results[0][0], &whole.gradients());
        // All ranks, and all steps.
        for steps in &results {
            assert!(steps.iter().all(|step| *step == results[0][0]));
        }
    }
}

#[test]
fn a_parameter_that_one_rank_does_not_use_counts_as_zero_there() {
    let whole = Net::new();
    let uses_head = |rank: i64| rank == 1;
    for rank in 0..3 {
        whole.loss(rank * 4, rank * 4 + 4, uses_head(rank)).backward();
    }
    let results = on_ranks(3, |group| {
        let net = Net::new();
        let mut reducer = Reducer::new(&net.parameters, group, 64).unwrap();
        let (from, to) = share(group, IMAGES);
        reducer.prepare().unwrap();
        net.loss(from, to, uses_head(group.rank() as i64)).backward();
        let reached = reducer.finish().unwrap();
        (reached[2], net.gradients())
    });
    let reached: Vec<bool> = results.iter().map(|(reached, _)| *reached).collect();
    assert_eq!(reached, [false, true, false]);
    for (_, gradients) in &results {
        assert_close(gradients, &whole.gradients());
        assert_eq!(gradients, &results[0].1);
    }
}

#[test]
fn a_rank_without_images_takes_part() {
    let whole = Net::new();
    whole.loss(0, 2, true).backward();
    let results = on_ranks(3, |group| {
        let net = Net::new();
        let mut reducer = Reducer::new(&net.parameters, group, 1 << 20).unwrap();
        let (from, to) = share(group, 2);
        reducer.prepare().unwrap();
        if from < to {
            net.loss(from, to, true).backward();
        }
        (reducer.finish().unwrap().contains(&true), net.gradients())
    });
    let took_part: Vec<bool> = results.iter().map(|(reached, _)| *reached).collect();
    assert_eq!(took_part, [false, true, true]);
    results.iter().for_each(|(_, gradients)| assert_close(gradients, &whole.gradients()));
}

#[test]
fn passes_that_are_not_prepared_accumulate() {
    let whole = Net::new();
    whole.loss(0, IMAGES, true).backward();
    let results = on_ranks(2, |group| {
        let net = Net::new();
        let mut reducer = Reducer::new(&net.parameters, group, 1 << 20).unwrap();
        for _ in 0..2 {
            clear_grads(&net.tensors()).unwrap();
            let from = group.rank() as i64 * 6;
            // The head is used in the first part only.
            net.loss(from, from + 2, false).backward();
            let head = net.loss(from, from + 6, true) - net.loss(from, from + 6, false);
            head.backward();
            assert_ne!(group.world_size(), 1);
            net.loss(from + 2, from + 4, false).backward();
            reducer.prepare().unwrap();
            net.loss(from + 4, from + 6, false).backward();
            assert_eq!(reducer.finish().unwrap(), [true, true, true, false]);
        }
        net.gradients()
    });
    results.iter().for_each(|gradients| assert_close(gradients, &whole.gradients()));
}

#[test]
fn gradients_are_in_buckets_from_the_last_parameter_to_the_first() {
    let buckets = on_ranks(1, |group| {
        let net = Net::new();
        // 384, 384, 144 and 40 bytes.
        let reducer = Reducer::new(&net.parameters, group, 150).unwrap();
        reducer.buckets()
    });
    let expected = [
        Bucket { parameters: vec![3, 2], bytes: 184 },
        Bucket { parameters: vec![1], bytes: 384 },
        Bucket { parameters: vec![0], bytes: 384 },
    ];
    assert_eq!(buckets[0], expected);
}

#[test]
fn kinds_are_in_buckets_of_their_own_in_the_order_of_parameters() {
    let buckets = on_ranks(1, |group| {
        let kinds = [Kind::Float, Kind::Double, Kind::Half, Kind::Float];
        let parameters: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(i, kind)| {
                (i.to_string(), Tensor::zeros([4], (*kind, Device::Cpu)).set_requires_grad(true))
            })
            .collect();
        Reducer::new(&parameters, group, 1 << 20).unwrap().buckets()
    });
    let parameters: Vec<_> = buckets[0].iter().map(|bucket| bucket.parameters.clone()).collect();
    assert_eq!(parameters, [vec![3, 0], vec![2], vec![1]]);
}

#[test]
fn a_reducer_that_is_gone_leaves_parameters_alone() {
    on_ranks(2, |group| {
        let net = Net::new();
        for _ in 0..2 {
            drop(Reducer::new(&net.parameters, group, 1 << 20).unwrap());
        }
        net.loss(0, 2, true).backward();
        let alone = Net::new();
        alone.loss(0, 2, true).backward();
        assert_eq!(net.gradients(), alone.gradients());
    });
}

#[test]
fn what_cannot_be_reduced_is_refused() {
    on_ranks(1, |group| {
        let tensor = Tensor::zeros([2], CPU64);
        let new = |parameters: &[(&str, &Tensor)]| {
            let parameters: Vec<_> = parameters
                .iter()
                .map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone()))
                .collect();
            Reducer::new(&parameters, group, 1 << 20).map(drop).map_err(|error| error.to_string())
        };
        assert!(new(&[]).unwrap_err().contains("no parameter is trained"));
        assert!(new(&[("frozen", &tensor)]).unwrap_err().contains("parameter frozen"));
        let tensor = tensor.set_requires_grad(true);
        let error = new(&[("a", &tensor), ("b", &tensor)]).unwrap_err();
        assert!(error.contains("a and b are the same tensor"), "{error}");
        let mut reducer = Reducer::new(&[("a".to_owned(), tensor)], group, 1 << 20).unwrap();
        let error = reducer.finish().unwrap_err().to_string();
        assert!(error.contains("no backward pass was prepared"), "{error}");
    });
}

#[test]
fn training_with_many_small_buckets_is_the_same_bits_on_all_ranks_and_in_two_runs() {
    let run = || {
        on_ranks(3, |group| {
            let net = Net::new();
            let mut reducer = Reducer::new(&net.parameters, group, 100).unwrap();
            for _ in 0..20 {
                clear_grads(&net.tensors()).unwrap();
                let (from, to) = share(group, IMAGES - 1);
                reducer.prepare().unwrap();
                net.loss(from, to, true).backward();
                reducer.finish().unwrap();
                tch::no_grad(|| {
                    for mut parameter in net.tensors() {
                        let step = parameter.grad() * 1e-3;
                        let _ = parameter.g_sub_(&step);
                    }
                });
            }
            net.tensors().iter().flat_map(values).map(f64::to_bits).collect::<Vec<_>>()
        })
    };
    let first = run();
    assert!(first[0] == first[1] && first[0] == first[2]);
    assert!(first == run());
}
