//! How a model is served.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;

use crate::server::{Access, Log, Token};

/// How a model is served.
#[derive(Clone)]
pub struct Options {
    /// Where to listen.
    pub address: SocketAddr,
    /// Required if other machines can reach the address.
    pub token: Option<Token>,
    /// Names besides those of this machine that clients may ask for, e.g. of a proxy.
    pub hosts: Vec<String>,
    /// Origins whose pages may use the server, e.g. of an OHIF viewer.
    pub origins: Vec<String>,
    /// Folders whose images clients may name instead of uploading them.
    pub images: Vec<PathBuf>,
    /// Bytes of an upload at most.
    pub max_upload_bytes: u64,
    /// Pixels of an image at most.
    pub max_pixels: u64,
    /// Bytes of the uploads that are kept for further questions.
    pub kept_bytes: u64,
    /// How long a question may wait and take.
    pub timeout: Duration,
    /// Questions that may wait for the model; further ones are asked to come back.
    pub queue: usize,
    /// Where the server's own errors go.
    pub log: Option<Log>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8008)),
            token: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            images: Vec::new(),
            max_upload_bytes: 64 << 20,
            max_pixels: 64_000_000,
            kept_bytes: 1 << 30,
            timeout: Duration::from_secs(60),
            queue: 32,
            log: None,
        }
    }
}

/// How long a client may take to send a request.
const SENT_WITHIN: Duration = Duration::from_secs(60);
/// What a form has besides its file.
const FORM_BYTES: u64 = 1 << 20;

impl Options {
    /// Whether a server could begin with them.
    ///
    /// # Errors
    /// Kind config if a token is missing, or a host or origin is malformed.
    pub fn check(&self) -> Result<()> {
        self.access().map(drop)
    }

    /// Who is let in.
    ///
    /// # Errors
    /// Kind config if a token is missing, or a host or origin is malformed.
    pub(crate) fn access(&self) -> Result<Access> {
        // Base64 makes three bytes four.
        let body = (self.max_upload_bytes / 3).saturating_add(1).saturating_mul(4);
        let mut access = Access::new(self.address, self.token.clone())?
            .open("/health")
            .open("/auth/")
            .open("/auth/token")
            .max_body_bytes(body.saturating_add(FORM_BYTES))
            .timeout(self.timeout + SENT_WITHIN);
        for host in &self.hosts {
            access = access.allow_host(host)?;
        }
        for origin in &self.origins {
            access = access.allow_origin(origin)?;
        }
        Ok(match &self.log {
            Some(log) => access.log(log.clone()),
            None => access,
        })
    }
}
