//! A folder of images, a session on it, and a client.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};
use sonotune_annotate::{Options, Session, Summary};
use sonotune_base::{Rle, stop::StopFlag};
use sonotune_dataset::{Dataset, DatasetConfig, Split, coco_dataset::CocoConfig};
use sonotune_serve::Inference;

/// `(height, width)` of every image.
pub(crate) const SIZE: (u32, u32) = (12, 16);

/// A folder with images `a.png`, `b.png`, …
pub(crate) struct Folder(pub(crate) tempfile::TempDir);

impl Folder {
    pub(crate) fn new(images: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..images {
            let name = char::from(b'a' + i as u8);
            write_image(&folder.path().join(format!("{name}.png")));
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn options(&self) -> Options {
        let categories = vec!["cyst".to_owned(), "tumour".to_owned()];
        Options { images: self.path().to_owned(), categories, ..Options::default() }
    }

    pub(crate) fn start(&self) -> Client {
        Client::start(&self.options(), None)
    }

    /// The file as JSON.
    pub(crate) fn json(&self) -> Value {
        read_json(&self.at("annotations.json"))
    }

    /// Images of the training set.
    pub(crate) fn training(&self) -> Dataset {
        let config = json!({ "root": self.path(), "train": "annotations.json" });
        let config: CocoConfig = serde_json::from_value(config).unwrap();
        let dataset = config.open(Split::Train).unwrap();
        dataset.verify_files().unwrap();
        dataset
    }
}

pub(crate) fn write_image(path: &Path) {
    let pixel = |x: u32, y: u32| image::Luma([(x * 13 + y * 7) as u8]);
    image::GrayImage::from_fn(SIZE.1, SIZE.0, pixel).save(path).unwrap();
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A filled rectangle as run lengths.
pub(crate) fn rectangle([x0, y0, x1, y1]: [u32; 4]) -> Rle {
    let pixel = |i: u32| {
        let (x, y) = (i % SIZE.1, i / SIZE.1);
        u8::from((x0..x1).contains(&x) && (y0..y1).contains(&y))
    };
    Rle::from_mask(&(0..SIZE.0 * SIZE.1).map(pixel).collect::<Vec<_>>(), SIZE).unwrap()
}

pub(crate) fn mask(edges: [u32; 4]) -> Value {
    let mask = rectangle(edges);
    json!({ "size": [mask.height, mask.width], "counts": mask.to_compressed() })
}

/// An object that was drawn as a mask.
pub(crate) fn object(uid: &str, edges: [u32; 4]) -> Value {
    json!({ "uid": uid, "category_id": 1, "mask": mask(edges), "source": "manual" })
}

/// A session, and a program that talks to it. Stops when dropped.
pub(crate) struct Client {
    pub(crate) base: String,
    pub(crate) token: String,
    stop: StopFlag,
    running: Option<JoinHandle<Summary>>,
    agent: ureq::Agent,
}

/// Status and JSON of an answer.
pub(crate) type Reply = (u16, Value);

impl Client {
    pub(crate) fn start(options: &Options, model: Option<Arc<dyn Inference>>) -> Self {
        let session = Session::open(options, model).unwrap();
        let url = session.url();
        let (base, token) = url.split_once("/?token=").unwrap();
        let (base, token) = (base.to_owned(), token.to_owned());
        let stop = StopFlag::default();
        let flag = stop.clone();
        let running = std::thread::spawn(move || session.run(&flag).unwrap());
        Self { base, token, stop, running: Some(running), agent: agent() }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        let request = self.agent.get(format!("{}{path}", self.base));
        reply(request.header("Authorization", &self.authorization()).call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request =
            request.header("Authorization", &self.authorization()).header("X-Sonotune", "1");
        reply(request.send_json(body))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Reply {
        self.put_text(path, &body.to_string())
    }

    pub(crate) fn put_text(&self, path: &str, body: &str) -> Reply {
        let request = self.agent.put(format!("{}{path}", self.base));
        let request = request
            .header("Authorization", &self.authorization())
            .header("X-Sonotune", "1")
            .header("Content-Type", "application/json");
        reply(request.send(body))
    }

    /// Saves an image that must be accepted; its new revision.
    pub(crate) fn save(&self, id: u64, revision: u64, status: &str, objects: &[Value]) -> u64 {
        let body = json!({ "revision": revision, "status": status, "objects": objects });
        let (code, reply) = self.put(&format!("/api/images/{id}"), &body);
        assert_eq!(code, 200, "{reply}");
        reply["revision"].as_u64().unwrap()
    }

    pub(crate) fn image(&self, id: u64) -> Value {
        let (code, reply) = self.get(&format!("/api/images/{id}"));
        assert_eq!(code, 200, "{reply}");
        reply
    }

    pub(crate) fn row(&self, id: usize) -> Value {
        self.get("/api/session").1["images"][id - 1].clone()
    }

    pub(crate) fn authorization(&self) -> String {
        format!("Token {}", self.token)
    }

    /// Events from now on.
    pub(crate) fn listen(&self) -> Events {
        let host = self.base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!(
            "GET /api/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\n\r\n",
            self.authorization()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            lines.read_line(&mut line).unwrap();
        }
        Events(lines)
    }

    /// Ends the session; what it came to.
    pub(crate) fn stop(mut self) -> Summary {
        self.stop.raise();
        self.running.take().unwrap().join().unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.raise();
        if let Some(running) = self.running.take() {
            drop(running.join());
        }
    }
}

/// Events as they come.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    /// The next event of a kind; fails if none comes in time.
    pub(crate) fn next(&mut self, kind: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the events ended before a {kind}");
            let event = line
                .strip_prefix("data: ")
                .and_then(|json| serde_json::from_str::<Value>(json).ok());
            if let Some(event) = event.filter(|event| event["kind"] == kind) {
                return event;
            }
        }
    }

    /// Reads to the end, which must come.
    pub(crate) fn end(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into()
}

pub(crate) fn reply(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut answer = answer.unwrap();
    let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) fn error(reply: &Reply) -> &str {
    reply.1["error"].as_str().unwrap_or_else(|| panic!("no error: {reply:?}"))
}
