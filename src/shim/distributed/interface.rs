//! Which network address a rank's connections use.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use super::Store;
use crate::ShimError;

/// PyTorch's variable: the interfaces to use, by name.
const VARIABLE: &str = "GLOO_SOCKET_IFNAME";

/// The address to bind on this rank, or `None` if the user named the interface: loopback if all ranks are on
/// this machine, else that of the interface by which this machine reaches the store's or, on the store's own,
/// another rank's. Unlike PyTorch this does not ask what the machine's name resolves to, which is often loopback
/// or nothing.
pub(super) fn address(
    store: &Store,
    rank: usize,
    world_size: usize,
    timeout: Duration,
) -> Result<Option<String>, ShimError> {
    let named = std::env::var(VARIABLE).is_ok_and(|names| names.len() > 1);
    let local = route_to(store.address());
    let mine =
        Place { machine: machine(), address: local.filter(|address| !address.is_loopback()) };
    store.set(&format!("place/{rank}"), mine.to_text().as_bytes())?;
    let mut all = Vec::with_capacity(world_size);
    for other in 0..world_size {
        let text = store.get(&format!("place/{other}"), timeout)?;
        all.push(Place::from_text(&String::from_utf8_lossy(&text)));
    }
    if named {
        return Ok(None);
    }
    choose(&mine, &all, |address| route_to((address, 9).into())).map(|address| Some(address.to_string())).ok_or_else(|| {
        ShimError(format!(
            "rank {rank} finds no network interface that reaches the other ranks; set {VARIABLE} to the name of one, \
             e.g. eth0, on every machine"
        ))
    })
}

/// Where a rank is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    machine: String,
    /// By which it reaches the store; `None` if that is on the same machine.
    address: Option<IpAddr>,
}

impl Place {
    fn to_text(&self) -> String {
        let address = self.address.map_or_else(String::new, |address| address.to_string());
        format!("{address}\n{}", self.machine)
    }

    fn from_text(text: &str) -> Self {
        let (address, machine) = text.split_once('\n').unwrap_or(("", text));
        Self { machine: machine.to_owned(), address: address.parse().ok() }
    }
}

fn choose(mine: &Place, all: &[Place], route: impl Fn(IpAddr) -> Option<IpAddr>) -> Option<IpAddr> {
    if all.iter().all(|place| place.machine == mine.machine) {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    mine.address.or_else(|| {
        let elsewhere = all.iter().filter(|place| place.machine != mine.machine);
        elsewhere.filter_map(|place| place.address).filter_map(route).find(|own| !own.is_loopback())
    })
}

/// Equal for processes that reach each other by loopback: a boot of a kernel, and a network namespace in it.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let namespace = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    [
        read("/proc/sys/kernel/random/boot_id"),
        read("/proc/sys/kernel/hostname"),
        namespace.to_string_lossy().into_owned(),
    ]
    .join(" ")
}

/// This machine's address on the way to `target`. Connecting a UDP socket sends nothing.
fn route_to(target: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(machine: &str, address: Option<&str>) -> Place {
        Place { machine: machine.to_owned(), address: address.map(|a| a.parse().unwrap()) }
    }

    #[test]
    fn one_machine_uses_loopback_and_several_the_interface_between_them() {
        let a = place("a", None);
        let b = place("b", Some("10.0.0.2"));
        let none = |_: IpAddr| -> Option<IpAddr> { None };
        let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(choose(&b, &[b.clone(), b.clone()], none), Some(loopback));
        assert_eq!(choose(&b, &[a.clone(), b.clone()], none), b.address);
        // The machine of the store sees loopback only, and asks for the way to another.
        let to_b = |target: IpAddr| (Some(target) == b.address).then(|| [10, 0, 0, 1].into());
        assert_eq!(choose(&a, &[a.clone(), b.clone()], to_b), Some([10, 0, 0, 1].into()));
        assert_eq!(choose(&a, &[a.clone(), b.clone()], none), None);
        assert_eq!(choose(&a, &[a.clone(), b.clone()], |_| Some(loopback)), None);
    }

    #[test]
    fn a_place_survives_the_store() {
        for place in [place("boot host net:[1]", None), place("m", Some("fe80::1"))] {
            assert_eq!(Place::from_text(&place.to_text()), place);
        }
        assert!(!machine().trim().is_empty());
    }

    #[test]
    fn the_way_to_this_machine_is_loopback() {
        let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(route_to((loopback, 9).into()), Some(loopback));
    }
}
