use std::time::Instant;

use super::*;

#[test]
fn what_one_connection_writes_another_reads() {
    let server = server();
    let other = client(&server);
    assert_eq!(other.port(), server.port());
    server.set("a", b"value").unwrap();
    server.set("empty", b"").unwrap();
    assert_eq!(other.get("a", seconds(10)).unwrap(), b"value");
    assert_eq!(other.get("empty", seconds(10)).unwrap(), b"");
    assert_eq!(other.try_get("a").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(other.try_get("b").unwrap(), None);
    assert_eq!(other.add("n", 3).unwrap(), 3);
    assert_eq!(server.add("n", -1).unwrap(), 2);
    let large = vec![7_u8; 3 << 20];
    server.set("large", &large).unwrap();
    assert!(other.get("large", seconds(10)).unwrap() == large);
}

#[test]
fn prefixes_keep_keys_apart() {
    let server = server();
    let (one, two) = (server.prefixed("one"), server.prefixed("two"));
    one.set("key", b"1").unwrap();
    assert_eq!(two.try_get("key").unwrap(), None);
    two.set("key", b"2").unwrap();
    assert_eq!(one.get("key", seconds(10)).unwrap(), b"1");
    assert_eq!(server.get("two/key", seconds(10)).unwrap(), b"2");
    assert_eq!(one.prefixed("deep").add("n", 1).unwrap(), 1);
    assert_eq!(server.add("one/deep/n", 1).unwrap(), 2);
}

#[test]
fn a_thread_that_waits_keeps_no_other_from_the_store() {
    let server = server();
    let store = client(&server);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..3)
            .map(|n| {
                let store = &store;
                scope.spawn(move || store.get(&format!("late/{n}"), seconds(30)).unwrap())
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        for n in 0..3_u8 {
            // The same connection as the threads' above.
            store.set(&format!("late/{n}"), &[n]).unwrap();
        }
        for (n, thread) in waiting.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), [n as u8]);
        }
    });
}

#[test]
fn a_key_that_nobody_writes_is_an_error_after_the_timeout() {
    let server = server();
    let store = client(&server).prefixed("run");
    let start = Instant::now();
    let error = store.get("missing", Duration::from_millis(200)).unwrap_err().to_string();
    assert!(start.elapsed() < seconds(20), "{:?}", start.elapsed());
    assert!(error.contains("`run/missing`") && error.contains("200ms"), "{error}");
    // The store goes on working.
    store.set("missing", b"now").unwrap();
    assert_eq!(store.get("missing", seconds(10)).unwrap(), b"now");
}

#[test]
fn without_a_server_there_is_an_error() {
    let port = server().port();
    let error = Store::tcp(LOOPBACK, port, false, seconds(1)).unwrap_err().to_string();
    assert!(error.contains(&format!("no store answers at {LOOPBACK}:{port}")), "{error}");
}

#[test]
fn a_server_that_ends_is_an_error_for_its_clients() {
    let server = server();
    let store = client(&server);
    store.set("a", b"1").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.get("never", seconds(60)));
        std::thread::sleep(Duration::from_millis(100));
        drop(server);
        let error = waiting.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("`never`"), "{error}");
    });
    assert!(store.add("n", 1).is_err());
    assert!(store.get("a", seconds(2)).is_err());
}

#[test]
fn a_port_in_use_is_an_error() {
    let server = server();
    let error = Store::tcp(LOOPBACK, server.port(), true, seconds(5)).unwrap_err().to_string();
    assert!(error.contains("cannot listen on"), "{error}");
}

#[test]
fn a_server_on_loopback_is_reached_from_this_machine_only() {
    let server = server();
    let listening = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let port = format!(":{:04X}", server.port());
        text.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|local| {
            local.ends_with(&port) && local.trim_end_matches(&port).chars().all(|c| c == '0')
        })
    };
    assert!(!listening("/proc/net/tcp") && !listening("/proc/net/tcp6"));
}

#[test]
fn a_server_for_all_interfaces_serves_a_name() {
    let server = Store::tcp("localhost", 0, true, seconds(30)).unwrap();
    let store = Store::tcp("localhost", server.port(), false, seconds(30)).unwrap();
    store.set("a", b"1").unwrap();
    assert_eq!(server.get("a", seconds(10)).unwrap(), b"1");
}
