//! Ranks are threads here, each with a connection and a group of its own; those that die are processes.

mod failure;
mod group;
mod reducer;
mod store;

use std::time::Duration;

use tch::{Device, Kind, Tensor};

use super::*;

pub(super) const CPU64: (Kind, Device) = (Kind::Double, Device::Cpu);
pub(super) const LOOPBACK: &str = "127.0.0.1";

pub(super) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn server() -> Store {
    Store::tcp(LOOPBACK, 0, true, seconds(30)).unwrap()
}

pub(super) fn client(server: &Store) -> Store {
    Store::tcp(LOOPBACK, server.port(), false, seconds(30)).unwrap()
}

/// What `body` returns on each rank, by rank.
pub(super) fn on_ranks<T: Send>(
    world_size: usize,
    body: impl Fn(&ProcessGroup) -> T + Sync,
) -> Vec<T> {
    let server = server();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..world_size)
            .map(|rank| {
                let (server, body) = (&server, &body);
                scope.spawn(move || {
                    let store = client(server).prefixed("test");
                    body(&ProcessGroup::gloo(&store, rank, world_size, seconds(60)).unwrap())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

pub(super) fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().flatten(0, -1)).unwrap()
}
