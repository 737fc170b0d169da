use std::{
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::*;

const PORT: &str = "SONOTUNE_TEST_STORE_PORT";
const PART: &str = "SONOTUNE_TEST_PART";

/// Rank 1 of 2 in a process of its own, which runs [`the_other_rank`] and there `part`.
fn other_rank(part: &str, store: &Store) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["distributed::tests::failure::the_other_rank", "--exact", "--ignored"])
        .env(PORT, store.port().to_string())
        .env(PART, part)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "started by other tests, in a process of its own"]
fn the_other_rank() {
    let Ok(port) = std::env::var(PORT) else { return };
    let store = Store::tcp(LOOPBACK, port.parse().unwrap(), false, seconds(30)).unwrap();
    let group = ProcessGroup::gloo(&store, 1, 2, seconds(60)).unwrap();
    match std::env::var(PART).unwrap().as_str() {
        "one sum" => {
            group.all_reduce(&Tensor::ones([1], CPU64), ReduceOp::Sum).unwrap();
            store.set("summed", b"").unwrap();
            std::thread::sleep(seconds(600));
        }
        "exit" => {
            let server = server();
            let _pending = group.start_all_reduce(Tensor::ones([1], CPU64), ReduceOp::Sum).unwrap();
            client(&server).set("key", b"").unwrap();
            std::process::exit(7);
        }
        part => panic!("no part {part}"),
    }
}

fn killed(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_rank_that_dies_makes_the_calls_of_the_others_fail() {
    let store = server();
    let mut other = other_rank("one sum", &store);
    let group = ProcessGroup::gloo(&store, 0, 2, seconds(60)).unwrap();
    let value = Tensor::ones([1], CPU64);
    group.all_reduce(&value, ReduceOp::Sum).unwrap();
    assert_eq!(values(&value), [2.0]);
    store.get("summed", seconds(30)).unwrap();
    // Dies while this rank waits for it.
    let start = Instant::now();
    let pending = group.start_all_reduce(Tensor::ones([100_000], CPU64), ReduceOp::Sum).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    killed(&mut other);
    let error = pending.wait().unwrap_err().to_string();
    assert!(error.contains("all-reduce on rank 0 of 2") && error.contains("onnection"), "{error}");
    // Was dead before.
    assert!(group.all_gather_bytes(b"x").is_err());
    let parameter = Tensor::zeros([4], CPU64).set_requires_grad(true);
    let mut reducer =
        Reducer::new(&[("p".to_owned(), parameter.shallow_clone())], &group, 1 << 20).unwrap();
    reducer.prepare().unwrap();
    assert!(parameter.sum(Kind::Double).f_backward().is_err() || reducer.finish().is_err());
    drop(group);
    drop(reducer);
    assert!(start.elapsed() < seconds(30), "{:?}", start.elapsed());
}

#[test]
fn a_rank_that_hangs_makes_the_calls_of_the_others_fail_after_the_timeout() {
    let store = server();
    let time = std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel();
        let server = &store;
        let hangs = scope.spawn(move || {
            let store = client(server).prefixed("hang");
            let group = ProcessGroup::gloo(&store, 1, 2, seconds(6)).unwrap();
            is_done.recv().unwrap();
            drop(group);
        });
        let group = ProcessGroup::gloo(&client(&store).prefixed("hang"), 0, 2, seconds(6)).unwrap();
        let parameter = Tensor::zeros([4], CPU64).set_requires_grad(true);
        let mut reducer =
            Reducer::new(&[("p".to_owned(), parameter.shallow_clone())], &group, 1 << 20).unwrap();
        let start = Instant::now();
        reducer.prepare().unwrap();
        let error = parameter.sum(Kind::Double).f_backward().unwrap_err().to_string();
        assert!(error.contains("imed out"), "{error}");
        let error = reducer.finish().unwrap_err().to_string();
        assert!(error.contains("reduction of gradients on rank 0 of 2"), "{error}");
        let time = start.elapsed();
        done.send(()).unwrap();
        hangs.join().unwrap();
        time
    });
    assert!(time >= seconds(5) && time < seconds(40), "{time:?}");
}

#[test]
fn a_rank_that_never_comes_is_an_error_after_the_timeout() {
    let store = server();
    let start = Instant::now();
    let error = ProcessGroup::gloo(&store, 0, 2, seconds(1)).unwrap_err().to_string();
    assert!(error.contains("rank 0 cannot connect to the 2 ranks"), "{error}");
    assert!(error.contains("place/1"), "{error}");
    assert!(start.elapsed() < seconds(20), "{:?}", start.elapsed());
}

#[test]
fn what_is_dropped_with_operations_under_way_neither_waits_nor_ends_the_process() {
    let server = server();
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let other = {
            let server = &server;
            scope.spawn(move || {
                let group = ProcessGroup::gloo(&client(server), 1, 2, seconds(120)).unwrap();
                let _ = is_done.recv();
                drop(group);
            })
        };
        let store = client(&server);
        let group = ProcessGroup::gloo(&store, 0, 2, seconds(120)).unwrap();
        let start = Instant::now();
        let parameter = Tensor::zeros([4], CPU64).set_requires_grad(true);
        let reducer = Reducer::new(&[("p".to_owned(), parameter)], &group, 1 << 20).unwrap();
        // Rank 1 takes part in none of them.
        let pending: Vec<_> = (0..6)
            .map(|_| group.start_all_reduce(Tensor::ones([9], CPU64), ReduceOp::Sum).unwrap())
            .collect();
        drop(store);
        drop(group);
        drop(pending);
        drop(reducer);
        assert!(start.elapsed() < seconds(30), "{:?}", start.elapsed());
        drop(done);
        other.join().unwrap();
    });
}

#[test]
fn a_process_can_exit_while_it_communicates() {
    let store = server();
    let other = other_rank("exit", &store);
    let group = ProcessGroup::gloo(&store, 0, 2, seconds(60)).unwrap();
    let output = other.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{:?}", output.status);
    assert!(group.all_gather_bytes(b"x").is_err());
    // Gloo reports connections there, if it may.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Gloo"), "{text}");
}

#[test]
fn a_rank_that_leaves_makes_calls_fail_on_all_ranks() {
    let server = server();
    let times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|rank| {
                let server = &server;
                scope.spawn(move || {
                    let group = ProcessGroup::gloo(&client(server), rank, 2, seconds(120)).unwrap();
                    let start = Instant::now();
                    if rank == 0 {
                        // Another thread knows of a failure while this one waits.
                        std::thread::scope(|scope| {
                            scope.spawn(|| {
                                std::thread::sleep(Duration::from_millis(200));
                                group.abandon().unwrap();
                            });
                            assert!(group.all_gather_bytes(b"x").is_err());
                        });
                        let error = group.all_gather_bytes(b"x").unwrap_err().to_string();
                        assert!(error.contains("this rank has left the group"), "{error}");
                    } else {
                        std::thread::sleep(Duration::from_millis(400));
                        assert!(group.all_gather_bytes(b"x").is_err());
                    }
                    start.elapsed()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(times.iter().all(|time| *time < seconds(60)), "{times:?}");
}
