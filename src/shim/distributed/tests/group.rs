use super::*;

#[test]
fn all_reduce_sums_and_takes_maxima() {
    for world_size in 1..=3 {
        let results = on_ranks(world_size, |group| {
            assert_eq!(group.world_size(), world_size);
            let sum = Tensor::full([5], group.rank() as f64 + 1.0, CPU64);
            group.all_reduce(&sum, ReduceOp::Sum).unwrap();
            let max = Tensor::from(group.rank() as i64);
            group.all_reduce(&max, ReduceOp::Max).unwrap();
            (group.rank(), values(&sum), max.int64_value(&[]))
        });
        let sum = (1..=world_size).sum::<usize>() as f64;
        for (rank, result) in results.into_iter().enumerate() {
            assert_eq!(result, (rank, vec![sum; 5], world_size as i64 - 1));
        }
    }
}

#[test]
fn a_sum_is_the_same_bits_on_all_ranks_and_in_two_runs() {
    let run = || {
        on_ranks(3, |group| {
            let exponent = Tensor::arange(100_003, CPU64) * (group.rank() as f64 + 1.0) * 0.37;
            let value = exponent.sin().to_kind(Kind::Float) * 1e3;
            group.all_reduce(&value, ReduceOp::Sum).unwrap();
            Vec::<f32>::try_from(value).unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        })
    };
    let first = run();
    assert!(first[0] == first[1] && first[0] == first[2]);
    assert!(first == run());
}

#[test]
fn operations_run_in_the_background() {
    let results = on_ranks(2, |group| {
        let one = group.start_all_reduce(Tensor::ones([3], CPU64), ReduceOp::Sum).unwrap();
        let two = group.start_all_reduce(Tensor::full([2], 2.0, CPU64), ReduceOp::Sum).unwrap();
        let two = two.wait().unwrap();
        (values(&one.wait().unwrap()), values(&two))
    });
    assert_eq!(results, vec![(vec![2.0; 3], vec![4.0; 2]); 2]);
}

#[test]
fn broadcast_copies_tensors_of_any_kind_from_a_rank() {
    let results = on_ranks(3, |group| {
        let rank = group.rank() as f64;
        let strided = Tensor::zeros([4, 6], CPU64).transpose(0, 1) + rank;
        let trained = (Tensor::zeros([2], CPU64) + rank).set_requires_grad(true);
        let count = Tensor::from(group.rank() as i64);
        group
            .broadcast(
                &[strided.shallow_clone(), count.shallow_clone(), trained.shallow_clone()],
                1,
            )
            .unwrap();
        group.broadcast(&[], 0).unwrap();
        assert!(trained.requires_grad());
        (values(&strided), count.int64_value(&[]), values(&trained))
    });
    assert_eq!(results, vec![(vec![1.0; 24], 1, vec![1.0; 2]); 3]);
}

#[test]
fn bytes_of_any_length_arrive_at_all_or_at_one() {
    let content = |rank: usize, length: usize| -> Vec<u8> {
        (0..length).map(|i| (i * 7 + rank * 31) as u8).collect()
    };
    for lengths in [[0, 0, 0], [0, 5, 1024], [1025, 0, 1], [5 << 20, 3, 2_000_003]] {
        let results = on_ranks(3, |group| {
            let mine = content(group.rank(), lengths[group.rank()]);
            (group.all_gather_bytes(&mine).unwrap(), group.gather_bytes(&mine, 2).unwrap())
        });
        let expected: Vec<_> = (0..3).map(|rank| content(rank, lengths[rank])).collect();
        for (rank, (all, one)) in results.into_iter().enumerate() {
            assert!(all == expected, "{lengths:?}");
            assert!(one == if rank == 2 { expected.clone() } else { Vec::new() }, "{lengths:?}");
        }
    }
}

#[test]
fn parameters_that_differ_between_ranks_are_named() {
    let results = on_ranks(2, |group| {
        let same = group.verify_parameters(&[Tensor::zeros([3, 4], CPU64)]);
        let columns = 4 + group.rank() as i64;
        let shapes = [Tensor::zeros([2], CPU64), Tensor::zeros([3, columns], CPU64)];
        (same.is_ok(), group.verify_parameters(&shapes).map_err(|error| error.to_string()))
    });
    assert!(results[0].0 && results[1].0);
    let error = results[1].1.as_ref().unwrap_err();
    assert!(error.contains("rank 1 of 2") && error.contains("params[1]"), "{error}");
}

#[test]
fn a_rank_that_does_not_exist_is_an_error() {
    let store = server();
    let error = ProcessGroup::gloo(&store, 2, 2, seconds(5)).unwrap_err().to_string();
    assert!(error.contains("rank 2 of 2"), "{error}");
    let group = ProcessGroup::gloo(&store, 0, 1, seconds(60)).unwrap();
    let error = group.broadcast(&[Tensor::zeros([1], CPU64)], 1).unwrap_err().to_string();
    assert!(error.contains("no rank 1"), "{error}");
    assert!(group.gather_bytes(b"x", 7).is_err());
}

#[test]
fn groups_on_prefixes_of_one_store_are_independent() {
    let server = server();
    let sums: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|rank| {
                let server = &server;
                scope.spawn(move || {
                    let store = client(server);
                    let connect = |prefix: &str| {
                        ProcessGroup::gloo(&store.prefixed(prefix), rank, 2, seconds(60)).unwrap()
                    };
                    let (a, b) = (connect("a"), connect("b"));
                    let (one, two) = (Tensor::ones([1], CPU64), Tensor::ones([1], CPU64));
                    // In opposite order on the two ranks.
                    let order =
                        if rank == 0 { [(&a, &one), (&b, &two)] } else { [(&b, &two), (&a, &one)] };
                    let pending: Vec<_> = order
                        .map(|(group, tensor)| {
                            group.start_all_reduce(tensor.shallow_clone(), ReduceOp::Sum).unwrap()
                        })
                        .into();
                    pending.into_iter().for_each(|operation| drop(operation.wait().unwrap()));
                    values(&(one + two))[0]
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(sums, [4.0, 4.0]);
}

#[test]
fn nccls_part_opens_and_all_its_symbols_are_found() {
    if option_env!("SONOTUNE_NCCL_LIBRARY").is_none() {
        println!(
            "skipped: this libtorch is without CUDA's headers; `cargo xtask setup --cuda` has them"
        );
        return;
    }
    nccl::backend().unwrap();
}
