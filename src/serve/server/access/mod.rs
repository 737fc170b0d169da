//! Who is let in, and how much is taken.

mod guard;
mod origin;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use axum::{Router, extract::DefaultBodyLimit, http::Uri, middleware};
use sonotune_base::Error;
use tower_http::catch_panic::CatchPanicLayer;

use super::{Failure, Log, Token};
pub(crate) use guard::refuse;

/// Pages may load nothing, and nobody may frame them.
const NOTHING: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const MAX_BODY_BYTES: u64 = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(120);

/// Who is let in, and how much is taken: wraps a router in all checks that come before its handlers.
///
/// A request is refused if its `Host` is not a name of this server (DNS rebinding), if it changes something and
/// a page of another origin sent it, if it does not show the token, if its body is too large, or if it takes too long.
/// A handler that panics is answered by 500. All errors have the body `{"error": "…"}`.
#[derive(Clone)]
pub struct Access {
    address: SocketAddr,
    token: Option<Token>,
    cookie: Option<String>,
    hosts: Vec<String>,
    origins: Vec<String>,
    open: Vec<String>,
    policy: String,
    max_body_bytes: u64,
    timeout: Duration,
    log: Option<Log>,
}

impl Access {
    /// For a server bound to `address`. Without a token, everybody who can reach it is let in.
    ///
    /// # Errors
    /// Kind config if other machines can reach the address and there is no token.
    pub fn new(address: SocketAddr, token: Option<Token>) -> Result<Self> {
        if token.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(Error::config(format!(
                "other machines can reach {address}, so a token is needed: give --token or set SONOTUNE_TOKEN, \
                 or listen on 127.0.0.1"
            ))
            .into());
        }
        Ok(Self {
            address,
            token,
            cookie: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            open: Vec::new(),
            policy: NOTHING.to_owned(),
            max_body_bytes: MAX_BODY_BYTES,
            timeout: TIMEOUT,
            log: None,
        })
    }

    /// Also takes the token from a cookie of this name. `GET /?token=…` sets it and redirects to `/`.
    #[must_use]
    pub fn cookie(self, name: &str) -> Self {
        Self { cookie: Some(name.to_owned()), ..self }
    }

    /// Answers to one more name, such as that of a proxy.
    ///
    /// # Errors
    /// Kind config if it is not a bare host name or address.
    pub fn allow_host(mut self, name: &str) -> Result<Self> {
        let bare = name.trim_matches(['[', ']']);
        let is_address = bare.parse::<IpAddr>().is_ok();
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_address && !is_name {
            return Err(Error::config(format!(
                "--allow-host {name}: expected a host name such as annotate.example.org, without scheme and port"
            ))
            .into());
        }
        self.hosts.push(bare.trim_end_matches('.').to_ascii_lowercase());
        Ok(self)
    }

    /// Lets pages of this origin send requests and read the answers.
    ///
    /// # Errors
    /// Kind config if it is not an origin: a scheme and a host, with a port if it is not the usual one.
    pub fn allow_origin(mut self, url: &str) -> Result<Self> {
        let given = url.strip_suffix('/').unwrap_or(url).to_ascii_lowercase();
        let uri = given.parse::<Uri>().ok();
        let is_origin = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|part| !part.as_str().contains('@'))
                && uri.path() == "/"
                && uri.query().is_none()
        });
        if !is_origin || given.contains('*') {
            return Err(Error::config(format!(
                "--allow-origin {url}: expected an origin such as https://viewer.example.org or \
                 http://localhost:3000, without a path"
            ))
            .into());
        }
        self.origins.push(given);
        Ok(self)
    }

    /// Needs no token for this path, e.g. to ask whether the server is up.
    #[must_use]
    pub fn open(mut self, path: &str) -> Self {
        self.open.push(path.to_owned());
        self
    }

    /// What a page may load, unless the response says so itself. At first nothing.
    #[must_use]
    pub fn content_security_policy(self, policy: &str) -> Self {
        Self { policy: policy.to_owned(), ..self }
    }

    /// Bytes of a request's body at most; 64 MiB at first.
    #[must_use]
    pub fn max_body_bytes(self, bytes: u64) -> Self {
        Self { max_body_bytes: bytes, ..self }
    }

    /// How long a request may take, from the end of its head to the head of the answer; 2 minutes at first. An
    /// answer that is streamed may take longer.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Where the server's own errors go; nowhere at first.
    #[must_use]
    pub fn log(self, log: Log) -> Self {
        Self { log: Some(log), ..self }
    }

    /// The router after all checks.
    pub fn protect(self, router: Router) -> Router {
        let cors = self.cors();
        let access = Arc::new(self);
        let mut router = router
            .layer(CatchPanicLayer::custom(guard::panicked))
            // The guard limits bodies of all kinds; axum's own limit would stop at 2 MB.
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(Arc::clone(&access), guard::admit));
        if let Some(cors) = cors {
            router = router.layer(cors);
        }
        router.layer(middleware::from_fn_with_state(access, guard::guard))
    }
}
