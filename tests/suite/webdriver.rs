//! A real browser, driven through ChromeDriver.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything on a page may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with a window of 1280 × 800.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
    _profile: TempDir,
}

/// Keys that are not characters, as WebDriver numbers them.
pub(crate) const CONTROL: char = '\u{E009}';

/// The buttons of a mouse.
#[derive(Clone, Copy)]
pub(crate) enum Button {
    Left = 0,
    Right = 2,
}

fn found(variable: &str, places: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.or_else(|| places.iter().map(PathBuf::from).find(|path| path.exists()))
}

impl Browser {
    /// Starts Chromium; `None`, with the reason printed, if it or ChromeDriver is not there.
    pub(crate) fn start() -> Option<Self> {
        let chromium = found(
            "SONOTUNE_CHROMIUM",
            &["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"],
        );
        let driver = found("SONOTUNE_CHROMEDRIVER", &["/usr/bin/chromedriver"]);
        let (Some(chromium), Some(driver)) = (chromium, driver) else {
            eprintln!(
                "skipped: no Chromium or ChromeDriver found (set SONOTUNE_CHROMIUM and SONOTUNE_CHROMEDRIVER)"
            );
            return None;
        };
        let mut driver =
            Command::new(driver).arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let profile_argument = format!("--user-data-dir={}", profile.path().display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1280,800",
            &profile_argument,
        ];
        let base = format!("http://127.0.0.1:{}/session", port.expect("the driver names its port"));
        let mut browser = Self { driver, session: base, agent, _profile: profile };
        let options = json!({ "binary": chromium, "args": arguments });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let answer = browser.post("", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        let id = answer["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}{command}", self.session);
        let mut answer = self.agent.post(&url).send_json(body).unwrap();
        let value: Value = answer.body_mut().read_json().unwrap();
        assert!(answer.status().is_success(), "{command} {body}: {value}");
        value["value"].clone()
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    pub(crate) fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// What a script returns.
    pub(crate) fn evaluate(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a script returns something that is not false or nothing.
    #[track_caller]
    pub(crate) fn until(&self, script: &str) -> Value {
        let started = Instant::now();
        loop {
            let value = self.evaluate(script);
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if started.elapsed() > PATIENCE {
                let text = self.evaluate("return document.body.innerText");
                panic!("never: {script}; the page says: {text}");
            }
            thread::sleep(Duration::from_millis(25));
        }
    }

    /// Moves along `points`, in pixels of the page, with a button held down from the first to the last.
    pub(crate) fn drag(&self, button: Button, points: &[(f64, f64)]) {
        let step = |&(x, y): &(f64, f64)| json!({ "type": "pointerMove", "duration": 20, "x": x.round() as i64, "y": y.round() as i64 });
        let button = button as i32;
        let mut actions =
            vec![step(&points[0]), json!({ "type": "pointerDown", "button": button })];
        actions.extend(points[1..].iter().map(step));
        actions.push(json!({ "type": "pointerUp", "button": button }));
        let mouse = json!({
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": actions,
        });
        self.post("/actions", &json!({ "actions": [mouse] }));
    }

    /// Presses the keys one after the other, then releases them.
    pub(crate) fn press(&self, keys: &[char]) {
        let down = keys.iter().map(|key| json!({ "type": "keyDown", "value": key.to_string() }));
        let up = keys.iter().rev().map(|key| json!({ "type": "keyUp", "value": key.to_string() }));
        let actions: Vec<_> = down.chain(up).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
