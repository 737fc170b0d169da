//! Which names this server has, and which pages may send it requests.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{Access, Failure};

impl Access {
    /// Refuses a request to a name that is not this server's: a page of another site whose name was made to point
    /// here would otherwise count as a page of this server. The port does not matter, since it may be forwarded.
    pub(super) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Failure::bad_request("the request must have one Host header"));
        };
        let named = [uri.authority().map(|part| part.as_str()), host.to_str().ok()];
        for host in named.into_iter().flatten() {
            if !self.is_mine(host) {
                let what = "this server does not answer to the name in the Host header; if it should, start it with \
                            --allow-host and that name";
                return Err(Failure::forbidden(what));
            }
        }
        if host.to_str().is_err() {
            return Err(Failure::bad_request("the Host header is not text"));
        }
        Ok(())
    }

    fn is_mine(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let bound = self.address.ip().to_canonical();
        let is_local = bound.is_loopback() || bound.is_unspecified();
        let is_named = self.hosts.contains(&name) || (is_local && name == "localhost");
        is_named
            || name.parse::<IpAddr>().is_ok_and(|ip| {
                let ip = ip.to_canonical();
                // A name can be made to point here, an address cannot.
                ip == bound || bound.is_unspecified() || (is_local && ip.is_loopback())
            })
    }

    /// Refuses a request that changes something and that a page of another origin sent.
    pub(super) fn check_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let is_trusted = match headers.get(header::ORIGIN) {
            Some(origin) => origin.to_str().is_ok_and(|origin| self.trusts(origin, headers)),
            // Browsers send one or the other; programs send neither.
            None => {
                let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
                !matches!(site, Some(b"cross-site" | b"same-site"))
            }
        };
        if is_trusted {
            return Ok(());
        }
        Err(Failure::forbidden(
            "a page of another origin sent this request; if it should be able to, start the server with \
             --allow-origin and the page's origin",
        ))
    }

    fn trusts(&self, origin: &str, headers: &HeaderMap) -> bool {
        let origin = origin.to_ascii_lowercase();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let is_own = match (origin.split_once("://"), host) {
            (Some((_, part)), Some(host)) => part.eq_ignore_ascii_case(host),
            _ => false,
        };
        is_own || self.origins.contains(&origin)
    }

    /// Lets pages of the allowed origins read answers.
    pub(super) fn cors(&self) -> Option<CorsLayer> {
        let origins: Vec<_> =
            self.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        let sent = [header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static("token")];
        (!origins.is_empty()).then(|| {
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(origins))
                .allow_methods([
                    Method::GET,
                    Method::HEAD,
                    Method::POST,
                    Method::PUT,
                    Method::DELETE,
                ])
                .allow_headers(sent)
                .expose_headers([header::CONTENT_DISPOSITION, header::RETRY_AFTER])
                .allow_private_network(true)
        })
    }
}

/// The host of `host:port`; an IPv6 address loses its brackets.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}
