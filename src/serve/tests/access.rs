//! Who is let in, before any handler.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sonotune_base::error::exit_code;

use super::client::Server;
use crate::server::{Access, Token};

const TOKEN: &str = "0123456789abcdef";

async fn explode() -> &'static str {
    panic!("a secret detail")
}

async fn sleep() -> &'static str {
    tokio::time::sleep(Duration::from_secs(20)).await;
    "late"
}

fn handlers() -> Router {
    Router::new()
        .route("/", get(|| async { "in" }).post(|| async { "done" }))
        .route("/size", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/explode", get(explode))
        .route("/sleep", get(sleep))
        .route("/health", get(|| async { "up" }))
}

fn server(change: impl FnOnce(Access) -> Access, token: Option<&str>) -> Server {
    Server::start(|address: SocketAddr| {
        let token = token.map(|token| Token::chosen(token).unwrap());
        change(Access::new(address, token).unwrap()).protect(handlers())
    })
}

#[test]
fn only_an_address_of_this_machine_needs_no_token() {
    for local in ["127.0.0.1:80", "[::1]:80", "127.3.4.5:1", "[::ffff:127.0.0.1]:80"] {
        assert!(Access::new(local.parse().unwrap(), None).is_ok(), "{local}");
    }
    for reachable in ["0.0.0.0:80", "[::]:80", "192.168.1.5:80"] {
        let address = reachable.parse().unwrap();
        let error = Access::new(address, None).err().unwrap();
        assert_eq!(exit_code(&error), 2);
        assert!(error.to_string().contains("--token"), "{error}");
        assert!(Access::new(address, Some(Token::new().unwrap())).is_ok());
    }
}

#[test]
fn names_that_are_not_the_servers_are_refused() {
    let server = server(|access| access.allow_host("Proxy.example.org").unwrap(), None);
    let port = server.address.port();
    for mine in ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", "proxy.example.org"] {
        for host in [format!("Host: {mine}"), format!("Host: {mine}:{port}")] {
            assert_eq!(server.send("GET /", &[&host], b"").status, 200, "{host}");
        }
    }
    for other in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil", ""] {
        let reply = server.send("GET /", &[&format!("Host: {other}")], b"");
        assert_eq!(reply.status, 403, "{other}");
        assert!(reply.error().contains("--allow-host"));
    }
    let two = ["Host: localhost", "Host: evil.example"];
    assert_eq!(server.send("GET /", &two, b"").status, 400);
    // The address of a request to a proxy counts as well.
    assert_eq!(server.send("GET http://evil.example/", &[], b"").status, 403);
}

#[test]
fn pages_of_other_origins_change_nothing() {
    let server = server(|access| access.allow_origin("https://viewer.example").unwrap(), None);
    let own = format!("Origin: http://{}", server.address);
    for trusted in [own.as_str(), "Origin: https://viewer.example", "Sec-Fetch-Site: same-origin"] {
        assert_eq!(server.send("POST /", &[trusted], b"x").status, 200, "{trusted}");
    }
    assert_eq!(server.send("POST /", &[], b"x").status, 200);
    for other in [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost:1",
        "Origin: https://viewer.example.evil",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        let reply = server.send("POST /", &[other], b"x");
        assert_eq!(reply.status, 403, "{other}");
        assert!(reply.error().contains("--allow-origin"));
        assert!(!reply.head.contains("access-control-allow-origin"), "{}", reply.head);
    }
    let asked = ["Origin: https://viewer.example", "Access-Control-Request-Method: POST"];
    let reply = server.send("OPTIONS /", &asked, b"");
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, Some("https://viewer.example"))
    );
}

#[test]
fn nothing_but_the_token_opens_the_door() {
    let server = server(|access| access.cookie("sonotune").open("/health"), Some(TOKEN));
    let basic = format!("Authorization: Basic {}", BASE64_STANDARD.encode(format!("any:{TOKEN}")));
    for right in [
        format!("Authorization: Token {TOKEN}"),
        format!("authorization: bearer {TOKEN}"),
        format!("Token: {TOKEN}"),
        format!("Cookie: other=1; sonotune={TOKEN}"),
        basic,
    ] {
        assert_eq!(server.send("GET /", &[&right], b"").status, 200, "{right}");
    }
    for wrong in [
        "X: y".to_owned(),
        "Authorization: Token ".to_owned(),
        "Authorization: Token 0123456789abcdeF".to_owned(),
        format!("Authorization: Token {TOKEN}0"),
        format!("Authorization: Digest {TOKEN}"),
        format!("Cookie: other={TOKEN}"),
        "Authorization: Basic !!!".to_owned(),
        "Cookie: sonotune=".to_owned(),
    ] {
        let reply = server.send("GET /", &[&wrong], b"");
        assert_eq!(reply.status, 401, "{wrong}");
        assert!(reply.error().contains("token") && !reply.error().contains(TOKEN));
    }
    assert_eq!(server.get("/health").text(), "up");
    assert_eq!(server.get("/nowhere").status, 401);
}

#[test]
fn the_address_with_the_token_sets_a_cookie_once() {
    let with_cookie = server(|access| access.cookie("sonotune"), Some(TOKEN));
    let reply = with_cookie.get(&format!("/?a=b&token={TOKEN}"));
    assert_eq!((reply.status, reply.header("location")), (303, Some("/")));
    let cookie = reply.header("set-cookie").unwrap();
    assert_eq!(cookie, format!("sonotune={TOKEN}; httponly; samesite=strict; path=/"));
    assert_eq!(with_cookie.get("/?token=wrong").status, 401);
    assert_eq!(with_cookie.get(&format!("/size?token={TOKEN}")).status, 401);
    let without = server(|access| access, Some(TOKEN));
    assert_eq!(without.get(&format!("/?token={TOKEN}")).status, 401);
}

#[test]
fn every_answer_has_the_headers_of_a_careful_server() {
    let server = server(|access| access.content_security_policy("default-src 'self'"), None);
    for path in ["/", "/nowhere", "/explode"] {
        let reply = server.get(path);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "deny"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'self'"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
    }
    assert_eq!(server.get("/nowhere").error(), "there is nothing at this address");
    assert_eq!(server.send("DELETE /", &[], b"").error(), "this address does not take this method");
}

#[test]
fn a_panic_is_logged_and_not_told() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let log = Arc::new(move |line: &str| kept.lock().unwrap().push(line.to_owned()));
    let server = server(|access| access.log(log), None);
    let reply = server.get("/explode");
    assert_eq!(reply.status, 500);
    assert!(!reply.error().contains("secret"), "{}", reply.error());
    assert_eq!(*lines.lock().unwrap(), ["GET /explode: panic: a secret detail"]);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn bodies_above_the_limit_are_refused_with_and_without_a_length() {
    let server = server(|access| access.max_body_bytes(1 << 20), None);
    assert_eq!(server.send("POST /size", &[], &vec![7; 1 << 20]).text(), "1048576");
    let reply = server.send("POST /size", &[], &vec![7; 40 << 20]);
    assert_eq!(reply.status, 413);
    assert!(reply.error().contains("41943040") && reply.error().contains("1048576"));
    let mut chunked = vec![b'x'; 2 << 20];
    chunked.splice(0..0, *b"200000\r\n");
    chunked.extend(b"\r\n0\r\n\r\n");
    let mut stream = server.connect();
    let head = format!("POST /size HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", server.address);
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    drop(stream.write_all(&chunked));
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn slow_clients_and_slow_handlers_are_given_up() {
    let server = server(|access| access.timeout(Duration::from_millis(300)), None);
    assert_eq!(server.get("/sleep").status, 408);
    // A body that does not come.
    let started = Instant::now();
    let host = format!("Host: {}", server.address);
    let reply = server.send("POST /size", &[&host, "Content-Length: 10"], b"");
    assert_eq!(reply.status, 408);
    // A head that does not end.
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let access = || Access::new("127.0.0.1:0".parse().unwrap(), None).unwrap();
    for origin in [
        "*",
        "viewer.example",
        "https://a.example/path",
        "ftp://a.example",
        "https://*.example",
        "",
    ] {
        assert!(access().allow_origin(origin).is_err(), "{origin}");
    }
    for host in ["", "http://a.example", "a.example:80", "a b", "*"] {
        assert!(access().allow_host(host).is_err(), "{host}");
    }
    assert!(access().allow_host("[fe80::1]").is_ok());
    assert!(access().allow_origin("http://localhost:3000/").is_ok());
}
