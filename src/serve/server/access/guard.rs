//! The checks around every request, from the outside in.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Access, Failure, Token};
use crate::server::failure::Logged;

/// Bytes of a message that a handler gave as text.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// How much of a refused body is read, and for how long.
const DRAINED_BYTES: usize = 1 << 30;
const DRAINED_FOR: Duration = Duration::from_secs(3);

/// Outermost: the name that was asked for, and what every response has.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let response = match access.check_host(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => refuse(failure, request).await,
    };
    let mut response = explained(response).await;
    if let (Some(Logged(text)), Some(log)) = (response.extensions_mut().remove(), &access.log) {
        log(&format!("{asked}: {text}"));
    }
    access.decorate(response.headers_mut());
    response
}

/// Origin, token, size and time, in this order.
pub(super) async fn admit(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let checked = access
        .check_origin(request.method(), request.headers())
        .and_then(|()| access.check_token(&request));
    match checked {
        Ok(Entry::Admitted) => {}
        Ok(Entry::Redirected(response)) => return response,
        Err(failure) => return refuse(failure, request).await,
    }
    if let Err(failure) = access.check_length(request.headers()) {
        return refuse(failure, request).await;
    }
    let most = usize::try_from(access.max_body_bytes).unwrap_or(usize::MAX);
    let request = request.map(|body| Body::new(Limited::new(body, most)));
    match timeout(access.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = access.timeout.as_secs_f64();
            let what = format!("the request was not answered within {seconds} seconds");
            Failure::new(StatusCode::REQUEST_TIMEOUT, what).into_response()
        }
    }
}

/// What a handler that panicked is answered by.
pub(super) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    Failure::internal(&anyhow::anyhow!("panic: {text}")).into_response()
}

/// Refuses a request, and reads its body for a moment before: a client that is still sending would not see the answer,
/// but only that the connection was closed.
pub(crate) async fn refuse(failure: Failure, request: Request) -> Response {
    // Such a client waits for leave to send, which reading would give.
    if !request.headers().contains_key(header::EXPECT) {
        let until = Instant::now() + DRAINED_FOR;
        let mut body = Limited::new(request.into_body(), DRAINED_BYTES);
        while let Ok(Some(Ok(_))) = timeout_at(until, body.frame()).await {}
    }
    failure.into_response()
}

/// The response with a JSON body if it is an error: the framework's own are text.
async fn explained(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_json = kind.is_some_and(|kind| kind.starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_MESSAGE_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let said = match (text.trim(), status) {
        ("", StatusCode::NOT_FOUND) => "there is nothing at this address",
        ("", StatusCode::METHOD_NOT_ALLOWED) => "this address does not take this method",
        ("", _) => status.canonical_reason().unwrap_or("failed"),
        (text, _) => text,
    };
    let mut explained = Failure::new(status, said).into_response();
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            explained.headers_mut().append(name, value.clone());
        }
    }
    *explained.extensions_mut() = parts.extensions;
    explained
}

/// What the check of the token came to.
enum Entry {
    Admitted,
    Redirected(Response),
}

impl Access {
    fn decorate(&self, headers: &mut HeaderMap) {
        let fixed = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(policy) = HeaderValue::from_str(&self.policy) {
            headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }

    fn check_length(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let most = self.max_body_bytes;
        match length.and_then(|length| length.parse::<u64>().ok()) {
            Some(length) if length > most => Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request has {length} bytes, this server takes {most} at most"),
            )),
            _ => Ok(()),
        }
    }

    fn check_token(&self, request: &Request) -> Result<Entry, Failure> {
        let Some(token) = &self.token else { return Ok(Entry::Admitted) };
        let (uri, headers) = (request.uri(), request.headers());
        if self.open.iter().any(|path| path == uri.path()) {
            return Ok(Entry::Admitted);
        }
        if let Some(name) = &self.cookie
            && request.method() == Method::GET
            && let Some(shown) = in_address(uri)
        {
            return enter(name, token, shown);
        }
        let mut shown = in_headers(headers);
        if let Some(name) = &self.cookie {
            shown.extend(in_cookies(headers, name));
        }
        match shown.as_slice() {
            [] => Err(Failure::unauthorized("this server needs its token")),
            shown if shown.iter().any(|shown| token.matches(shown)) => Ok(Entry::Admitted),
            _ => Err(Failure::unauthorized("the token is not this server's")),
        }
    }
}

/// Sets the cookie, and takes the token out of the address bar and the history.
fn enter(name: &str, token: &Token, shown: &str) -> Result<Entry, Failure> {
    if !token.matches(shown) {
        return Err(Failure::unauthorized(
            "the token in the address is not this server's; each start makes a new one",
        ));
    }
    let cookie = format!("{name}={}; HttpOnly; SameSite=Strict; Path=/", token.reveal());
    Ok(Entry::Redirected(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()))
}

/// The token in `/?token=…`.
fn in_address(uri: &Uri) -> Option<&str> {
    let query = uri.query().filter(|_| uri.path() == "/")?;
    query.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// Every token that the headers show, in the forms that clients use: `Authorization: Token …` and `Bearer …`, the
/// password of `Basic …`, and a header of its own.
fn in_headers(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let mut shown: Vec<_> = headers.get_all("token").iter().filter_map(text).collect();
    for value in headers.get_all(header::AUTHORIZATION).iter().filter_map(text) {
        let Some((scheme, rest)) = value.split_once(' ') else { continue };
        let rest = rest.trim();
        if ["token", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            shown.push(rest.to_owned());
        } else if scheme.eq_ignore_ascii_case("basic")
            && let Ok(bytes) = BASE64_STANDARD.decode(rest)
            && let Some((_, password)) = String::from_utf8_lossy(&bytes).split_once(':')
        {
            shown.push(password.to_owned());
        }
    }
    shown.retain(|shown| !shown.is_empty());
    shown
}

fn in_cookies(headers: &HeaderMap, name: &str) -> Vec<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';'));
    let named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
}
