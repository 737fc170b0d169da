//! `sonotune serve` as a program: it answers what `sonotune predict` does, and ends when it is told to.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    prompts_support::{Place, Trained, list},
    support::{CLASSIFICATION, assert_fails, assert_success, read_json, sonotune, tiny_run},
};

/// An answer, or an end, takes this long at most.
const PATIENCE: Duration = Duration::from_secs(60);

fn program(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    program.arg("serve").args(arguments).env_remove("SONOTUNE_TOKEN");
    program
}

/// A running server.
struct Server {
    child: Child,
    /// What it printed at its start.
    told: Value,
    agent: ureq::Agent,
}

impl Server {
    #[track_caller]
    fn start(run: &str) -> Self {
        let mut child = program(&["--run", run, "--address", "127.0.0.1:0", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        Self { child, told, agent: agent.into() }
    }

    /// Status and answer of a question about an image, with further fields of the form.
    fn ask(&self, image: &[u8], fields: &[(&str, String)]) -> (u16, Value) {
        const LIMIT: &str = "limit-of-the-parts-of-this-form";
        let part = |head: &str, content: &[u8]| {
            let head = format!("--{LIMIT}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
            [head.as_bytes(), content, b"\r\n"].concat()
        };
        let mut body = part("name=\"image\"; filename=\"a.png\"", image);
        for (name, text) in fields {
            body.extend(part(&format!("name=\"{name}\""), text.as_bytes()));
        }
        body.extend(format!("--{LIMIT}--\r\n").bytes());
        let url = format!("{}/v1/predict", self.told["url"].as_str().unwrap());
        let kind = format!("multipart/form-data; boundary={LIMIT}");
        let mut response = self.agent.post(url).content_type(kind).send(&body[..]).unwrap();
        (response.status().as_u16(), response.body_mut().read_json().unwrap())
    }

    #[track_caller]
    fn answer(&self, image: &[u8], fields: &[(&str, String)]) -> Value {
        let (status, answer) = self.ask(image, fields);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Asks it to end, and gives its exit code.
    fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it goes on after SIGTERM");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_served_model_answers_prompts_as_predict_does() {
    let place = Place::new();
    let objects = json!([{"points": [[10, 10, 1], [50, 30, 0]]}, {"box": [5, 5, 30, 30]}]);
    assert_success(&place.ask("out", &objects));
    assert_success(&place.ask("alone", &json!([objects[1]])));
    let (document, alone) = (place.json("out"), place.json("alone"));
    let predicted = list(&document, "annotations");
    assert!(predicted.iter().all(|object| object["area"].as_f64() > Some(0.0)), "{document}");

    let run = Trained::get().run();
    let server = Server::start(&run);
    let model = &server.told["model"];
    assert_eq!(
        (&model["task"], &model["takes_prompts"], &model["step"]),
        (&json!("sam_prompt"), &json!(true), &json!(300))
    );
    let image = fs::read(place.path("images/a.png")).unwrap();
    let prompts = json!([
        {"points": [{"x": 10, "y": 10}, {"x": 50, "y": 30, "positive": false}]},
        {"bbox": [5, 5, 30, 30]},
    ]);
    let answer = server.answer(&image, &[("prompts", prompts.to_string())]);
    assert_eq!((&answer["height"], &answer["width"]), (&json!(40), &json!(64)));
    assert_eq!(answer["was_prepared"], false);
    assert_same_objects(&answer, predicted);

    // The embedding is still there, also for another question.
    let again = server.answer(&image, &[("prompts", json!([prompts[1]]).to_string())]);
    assert_eq!(again["was_prepared"], true);
    assert_same_objects(&again, list(&alone, "annotations"));
    let other = fs::read(place.path("images/sub/b.png")).unwrap();
    let other = server.answer(&other, &[("prompts", prompts.to_string())]);
    assert_eq!(other["was_prepared"], false);
    assert_ne!(other["objects"], answer["objects"]);

    let (status, refused) = server.ask(b"no image", &[]);
    assert_eq!(status, 422, "{refused}");
    let error = refused["error"].as_str().unwrap();
    let place_of_uploads = std::env::temp_dir().display().to_string();
    assert!(error.contains("the uploaded image") && !error.contains(&place_of_uploads), "{error}");
    // Nothing of that ends it; a signal does.
    server.answer(&image, &[("prompts", prompts.to_string())]);
    assert_eq!(server.terminate(), Some(0));
}

/// The masks are equal pixel by pixel, and so are the scores but for their rounding.
#[track_caller]
fn assert_same_objects(answer: &Value, predicted: &[Value]) {
    let objects = list(answer, "objects");
    assert_eq!(objects.len(), predicted.len(), "{answer}");
    for (object, predicted) in objects.iter().zip(predicted) {
        assert_eq!(object["mask"], predicted["segmentation"]);
        let score = |value: &Value| value["score"].as_f64().unwrap();
        assert!((score(object) - score(predicted)).abs() < 1e-5, "{object} {predicted}");
    }
}

#[test]
fn a_served_classifier_gives_the_scores_of_predict() {
    let folder = tempfile::tempdir().unwrap();
    assert_success(&tiny_run(folder.path(), CLASSIFICATION, &[]));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let place = Place::new();
    let (run, out) = (path("run"), path("out"));
    assert_success(&sonotune(&["predict", &place.path("images"), "--run", &run, "--out", &out]));
    let document = read_json(&folder.path().join("out/predictions.json"));

    let server = Server::start(&run);
    for predicted in list(&document, "images") {
        let name = predicted["image"].as_str().unwrap();
        let image = fs::read(Path::new(&place.path("images")).join(name)).unwrap();
        let answer = server.answer(&image, &[]);
        assert_eq!(answer["labels"], predicted["labels"], "{predicted}");
        let expected = predicted["scores"].as_object().unwrap();
        let scores = list(&answer, "scores");
        assert_eq!(scores.len(), expected.len(), "{answer}");
        for given in scores {
            let expected = expected[given["category"].as_str().unwrap()].as_f64().unwrap();
            let score = given["score"].as_f64().unwrap();
            assert!((score - expected).abs() < 1e-6, "{given} {expected}");
        }
    }
    // It has no use for prompts, and says so.
    let prompts = json!([{"bbox": [5, 5, 30, 30]}]).to_string();
    let image = fs::read(place.path("images/a.png")).unwrap();
    let (status, refused) = server.ask(&image, &[("prompts", prompts)]);
    assert_eq!(status, 422, "{refused}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn other_machines_need_a_token_which_is_said_before_a_model_is_read() {
    let open = ["--run", "no-such-run", "--address", "0.0.0.0:0"];
    assert_fails(&program(&open).output().unwrap(), 2, &["0.0.0.0", "--token"]);
}
