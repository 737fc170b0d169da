//! A key-value store that all ranks reach: c10d's `TCPStore`.

use std::{
    ffi::c_int,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    os::fd::IntoRawFd,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{c_string, explain, ffi as c, milliseconds};
use crate::{ShimError, ffi};

/// A connection to the key-value store of a run. Clones share it; the server, if this process has it, ends
/// with the last clone. A thread that waits for a key keeps no other thread from using the store.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    prefix: String,
}

#[derive(Debug)]
struct Shared {
    host: String,
    /// The host, resolved.
    address: IpAddr,
    port: u16,
    timeout: Duration,
    main: Connection,
    /// A connection serves one call at a time, so threads that wait use others: those that are idle.
    idle: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
pub(super) struct Connection(pub(super) *mut c::CStore);

// SAFETY: c10d's store may be used from any thread and locks each of its calls.
unsafe impl Send for Connection {}
// SAFETY: see above.
unsafe impl Sync for Connection {}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: created by `shim_store_connect`, freed once.
        unsafe { c::shim_store_free(self.0) };
    }
}

impl Connection {
    /// The connection, and the port of the server.
    fn open(
        address: SocketAddr,
        server: Option<c_int>,
        timeout: Duration,
    ) -> Result<(Self, u16), ShimError> {
        let name = c_string(&literal(address.ip()))?;
        let (mut got, mut out) = (0, std::ptr::null_mut());
        // c10d waits whole seconds for a server, and 0 means without end.
        let timeout = milliseconds(timeout.max(Duration::from_secs(1)));
        // SAFETY: the pointers outlive the call; a listener's descriptor is handed over.
        ffi::check(unsafe {
            c::shim_store_connect(
                name.as_ptr(),
                c_int::from(address.port()),
                c_int::from(server.is_some()),
                server.unwrap_or(-1),
                timeout,
                &mut got,
                &mut out,
            )
        })
        .map_err(|error| explain(error, &format!("store at {address}")))?;
        Ok((Self(out), u16::try_from(got).unwrap_or_default()))
    }

    fn get(&self, key: &std::ffi::CStr, timeout: Duration) -> Result<Vec<u8>, ShimError> {
        let (mut value, mut length) = (std::ptr::null_mut(), 0);
        // SAFETY: the pointers outlive the call.
        ffi::check(unsafe {
            c::shim_store_get(self.0, key.as_ptr(), milliseconds(timeout), &mut value, &mut length)
        })?;
        // SAFETY: the shim wrote `length` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(value.cast::<u8>(), length) }.to_vec();
        // SAFETY: allocated by the shim, freed once.
        unsafe { ffi::shim_free(value) };
        Ok(bytes)
    }
}

impl Store {
    /// Connects to the server at `host`, trying until `timeout` (at least a second), or first starts one in this
    /// process, which listens on `port` (0: any free). A server for a loopback address can be reached from this
    /// machine only; one for any other host listens on all interfaces. It authenticates nobody.
    ///
    /// # Errors
    /// When the port is taken, or no server answers in time.
    pub fn tcp(
        host: &str,
        port: u16,
        is_server: bool,
        timeout: Duration,
    ) -> Result<Self, ShimError> {
        let (server, address) = if is_server {
            let listener = listener(host, port)?;
            let own = if listener < 0 { None } else { host.parse().ok() };
            // On all interfaces, so also here.
            (Some(listener), own.unwrap_or(Ipv4Addr::LOCALHOST.into()))
        } else {
            (None, wait_for(host, port, timeout)?)
        };
        let (main, port) = Connection::open((address, port).into(), server, timeout)?;
        let (host, idle) = (host.to_owned(), Mutex::default());
        let shared = Shared { host, address, port, timeout, main, idle };
        Ok(Self { shared: Arc::new(shared), prefix: String::new() })
    }

    /// The port of the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Where this process reaches the server.
    pub(super) fn address(&self) -> SocketAddr {
        (self.shared.address, self.shared.port).into()
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.shared.main
    }

    /// The same store with keys of its own: each begins with `prefix` and a slash.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), prefix: format!("{}{prefix}/", self.prefix) }
    }

    fn context(&self, key: &str) -> String {
        let Shared { host, port, .. } = &*self.shared;
        format!("key `{}{key}` of the store at {host}:{port}", self.prefix)
    }

    /// Writes a value, in place of an older one.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), ShimError> {
        let name = c_string(&format!("{}{key}", self.prefix))?;
        // SAFETY: the pointers outlive the call.
        ffi::check(unsafe {
            c::shim_store_set(self.shared.main.0, name.as_ptr(), value.as_ptr(), value.len())
        })
        .map_err(|error| explain(error, &self.context(key)))
    }

    /// The value of `key`; waits until somebody writes it.
    ///
    /// # Errors
    /// When nobody does within `timeout`, or the server is gone.
    pub fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, ShimError> {
        let name = c_string(&format!("{}{key}", self.prefix))?;
        let shared = &*self.shared;
        let idle = shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let limit = timeout.min(shared.timeout);
                wait_for(&shared.address.to_string(), shared.port, limit)
                    .and_then(|_| Connection::open(self.address(), None, limit))
                    .map_err(|error| explain(error, &self.context(key)))?
                    .0
            }
        };
        // A connection that failed is not used again.
        let value = connection.get(&name, timeout).map_err(|error| {
            explain(error, &format!("{}, waited for up to {timeout:?}", self.context(key)))
        })?;
        shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(value)
    }

    /// The value of `key`, or `None` if nobody has written it; does not wait.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn try_get(&self, key: &str) -> Result<Option<Vec<u8>>, ShimError> {
        let name = c_string(&format!("{}{key}", self.prefix))?;
        let main = &self.shared.main;
        let mut has = 0;
        // SAFETY: the pointers outlive the call.
        ffi::check(unsafe { c::shim_store_has(main.0, name.as_ptr(), &mut has) })
            .and_then(|()| (has != 0).then(|| main.get(&name, self.shared.timeout)).transpose())
            .map_err(|error| explain(error, &self.context(key)))
    }

    /// Adds to the number that `key` holds, 0 at first, and returns the sum.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn add(&self, key: &str, amount: i64) -> Result<i64, ShimError> {
        let name = c_string(&format!("{}{key}", self.prefix))?;
        let mut sum = 0;
        // SAFETY: the pointers outlive the call.
        ffi::check(unsafe {
            c::shim_store_add(self.shared.main.0, name.as_ptr(), amount, &mut sum)
        })
        .map_err(|error| explain(error, &self.context(key)))?;
        Ok(sum)
    }
}

/// Waits until something listens there, and returns its address. c10d would wait as well, but fill the log with its
/// attempts, and resolve the name again for each connection.
fn wait_for(host: &str, port: u16, timeout: Duration) -> Result<IpAddr, ShimError> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let left = timeout.saturating_sub(start.elapsed()).max(Duration::from_millis(100));
        let connect =
            |address: SocketAddr| TcpStream::connect_timeout(&address, left).map(|_| address.ip());
        let mut failure = None;
        match (host, port).to_socket_addrs() {
            Ok(addresses) => {
                for address in addresses {
                    match connect(address) {
                        Ok(address) => return Ok(address),
                        Err(error) => failure = Some(error),
                    }
                }
            }
            Err(error) => failure = Some(error),
        }
        if start.elapsed() >= timeout {
            let cause = failure.map_or_else(|| "no address".to_owned(), |error| error.to_string());
            return Err(ShimError(format!(
                "no store answers at {host}:{port} (waited for {timeout:?}): {cause}"
            )));
        }
        std::thread::sleep(pause.min(timeout.saturating_sub(start.elapsed())));
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// The address as c10d finds it without asking a name server: it looks for IPv6 first, and its way of looking makes the
/// system ask for the IPv6 address of an IPv4 one, which takes seconds if no server answers.
fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) if UdpSocket::bind("[::]:0").is_ok() => v4.to_ipv6_mapped().to_string(),
        other => other.to_string(),
    }
}

/// The socket for a server: one bound to a loopback address, or -1 for c10d's own, on all interfaces.
fn listener(host: &str, port: u16) -> Result<c_int, ShimError> {
    match host.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => TcpListener::bind((address, port))
            .map(IntoRawFd::into_raw_fd)
            .map_err(|error| ShimError(format!("cannot listen on {host}:{port}: {error}"))),
        _ => Ok(-1),
    }
}
