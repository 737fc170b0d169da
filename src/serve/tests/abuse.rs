//! Clients that mean harm, or just have bad luck.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;

use super::{client::Server, data_url, fake::Fake, picture, serving, serving_slowly};
use crate::Options;

/// A PNG of the given size, as far as its header tells.
fn header_of(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 0, 0, 0, 0]);
    let checksum = chunk.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 }
        })
    });
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\r".to_vec();
    png.extend(&chunk);
    png.extend((!checksum).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT");
    png
}

fn upload(server: &Server, bytes: &[u8]) -> super::client::Reply {
    server.send_form("POST /v1/predict", &[("image", Some("a.png"), bytes)])
}

#[test]
fn what_is_not_an_image_is_refused_without_saying_where_it_is() {
    let server = serving(|_| (), Options::default());
    let good = picture(40, 60);
    let cases: [&[u8]; 7] = [
        b"",
        b"not an image",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a\x01\0\x01\0\0\0\0;",
        b"RIFF\x24\0\0\0AVI LIST",
        &good[..good.len() / 2],
        &[0; 4096],
    ];
    for bytes in cases {
        let reply = upload(&server, bytes);
        assert_eq!(reply.status, 422, "{:?} {}", &bytes[..bytes.len().min(9)], reply.text());
        assert!(
            !reply.text().contains("/tmp") && !reply.text().contains("sonotune-serve-"),
            "{}",
            reply.text()
        );
    }
    for image in ["data:image/png;base64,!!!", "data:text/plain,hello", "%%%", ""] {
        assert_eq!(
            server.post_json("/v1/predict", &json!({ "image": image })).status,
            422,
            "{image}"
        );
    }
    assert_eq!(upload(&server, &good).status, 200);
}

#[test]
fn an_image_of_ten_gigapixels_is_refused_by_its_header() {
    let server = serving(|_| (), Options::default());
    for (width, height) in [(100_000, 100_000), (8001, 8000), (u32::MAX >> 1, u32::MAX >> 1)] {
        let reply = upload(&server, &header_of(width, height));
        assert_eq!(reply.status, 422);
        let error = reply.error();
        assert!(error.contains("pixels") || error.contains("limit"), "{error}");
    }
}

#[test]
fn uploads_above_the_limit_are_refused_wherever_they_are() {
    let options = Options { max_upload_bytes: 1 << 20, ..Options::default() };
    let server = serving(|_| (), options);
    let long = vec![0; (1 << 20) + 1];
    assert_eq!(upload(&server, &long).status, 413);
    assert_eq!(server.post_json("/v1/predict", &json!({ "image": data_url(&long) })).status, 413);
    let tasks = json!([{ "data": { "image": data_url(&long) } }]);
    let config = "<View><Image name='i' value='$image'/><BrushLabels name='b' toName='i'>\
                  <Label value='lesion'/><Label value='cyst'/></BrushLabels></View>";
    let body = json!({ "tasks": tasks, "label_config": config });
    assert_eq!(server.post_json("/predict", &body).status, 413);
    assert_eq!(upload(&server, &vec![0; 500 << 20]).status, 413);
}

#[test]
fn of_many_at_once_some_are_asked_to_come_back_and_none_fails() {
    let fake = Fake { delay: Duration::from_millis(5), ..Fake::new() };
    let server = serving_slowly(fake, Options { queue: 8, ..Options::default() });
    let body = json!({ "image": data_url(&picture(40, 60)) });
    let statuses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let reply = server.post_json("/v1/predict", &body);
                if reply.status == 503 {
                    assert_eq!(reply.header("retry-after"), Some("1"));
                }
                statuses.lock().unwrap().push(reply.status);
            });
        }
    });
    let statuses = statuses.into_inner().unwrap();
    let count = |status| statuses.iter().filter(|&&other| other == status).count();
    assert_eq!(count(200) + count(503), 200, "{statuses:?}");
    assert!(count(200) >= 9 && count(503) > 0, "{} {}", count(200), count(503));
    assert_eq!(server.post_json("/v1/predict", &body).status, 200);
}

#[test]
fn a_model_that_takes_too_long_is_not_waited_for() {
    let fake = Fake { delay: Duration::from_millis(600), ..Fake::new() };
    let options = Options { timeout: Duration::from_millis(100), queue: 1, ..Options::default() };
    let server = serving_slowly(fake, options);
    let body = json!({ "image": data_url(&picture(40, 60)) });
    let reply = server.post_json("/v1/predict", &body);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(reply.error().contains("0.1 seconds"), "{}", reply.error());
}

#[test]
fn clients_that_leave_do_not_keep_their_places() {
    let fake = Fake { delay: Duration::from_millis(50), ..Fake::new() };
    let server = serving_slowly(fake, Options { queue: 1, ..Options::default() });
    let body = json!({ "image": data_url(&picture(40, 60)) }).to_string();
    for sent in [body.len(), body.len() / 2] {
        for _ in 0..4 {
            let mut stream = server.connect();
            let head = format!(
                "POST /v1/predict HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n",
                server.address
            );
            write!(stream, "{head}Content-Length: {}\r\n\r\n{}", body.len(), &body[..sent])
                .unwrap();
            drop(stream);
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let reply = server.post_json("/v1/predict", &serde_json::from_str(&body).unwrap());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("sonotune_queue_length 0") && metrics.contains("sonotune_in_flight 0")
    );
}

#[test]
fn errors_of_the_server_are_logged_and_those_of_data_are_told() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let log = Arc::new(move |line: &str| kept.lock().unwrap().push(line.to_owned()));
    let server = serving(|_| (), Options { log: Some(log), ..Options::default() });
    let reply = upload(&server, &picture(13, 13));
    assert_eq!((reply.status, reply.error().contains("secret")), (500, false));
    let logged = lines.lock().unwrap().join("\n");
    assert!(logged.starts_with("POST /v1/predict: a secret detail"), "{logged}");
    let reply = upload(&server, &picture(13, 14));
    assert_eq!((reply.status, reply.error()), (422, "the image: unlucky".to_owned()));
}

#[test]
fn malformed_requests_are_refused_by_every_route() {
    let server = serving(|_| (), Options::default());
    let json = "Content-Type: application/json";
    for path in ["/v1/predict", "/predict", "/setup", "/webhook"] {
        for body in ["", "{", "[]", "null", "\"a\"", "{\"tasks\": 3}", "\u{0}"] {
            let reply = server.send(&format!("POST {path}"), &[json], body.as_bytes());
            let is_accepted = ["/setup", "/webhook"].contains(&path) && body.contains("tasks");
            if is_accepted {
                assert_eq!(reply.status, 200);
                continue;
            }
            assert!((400..500).contains(&reply.status), "{path} {body}: {}", reply.text());
        }
        assert_eq!(
            server.send(&format!("POST {path}"), &["Content-Type: text/plain"], b"{}").status,
            415
        );
    }
    for path in ["/infer/fake", "/session/", "/datastore/", "/v1/predict"] {
        let line =
            if path.starts_with("/infer") || path.starts_with("/v1") { "POST" } else { "PUT" };
        let kind = "Content-Type: multipart/form-data; boundary=limit";
        for body in ["", "--limit", "--limit--\r\n", "--limit\r\n\r\n\r\n--limit--\r\n", "nonsense"]
        {
            let reply = server.send(&format!("{line} {path}"), &[kind], body.as_bytes());
            assert!(
                (400..500).contains(&reply.status),
                "{path} {body}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
}
