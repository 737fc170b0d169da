//! `sonotune annotate`, used as a person does: in a browser, with a model, with accidents.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use serde_json::Value;
use sonotune_testing::Tiny;

use crate::{
    support::{
        PROMPTS, assert_contains, assert_fails, json, phantoms, python, read_json, sonotune,
    },
    webdriver::{Browser, Button, CONTROL},
};

const NUM_IMAGES: usize = 20;

/// Phantoms of 128² with their truth, without what a session writes.
fn images() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data").display().to_string();
        let count = NUM_IMAGES.to_string();
        let args = ["--num-images", &count, "--image-size", "128", "--seed", "5"];
        json(&sonotune(&[&["data", "phantom", &out, "--json"], &args[..]].concat()));
        folder
    });
    folder.path()
}

/// A model that finds a phantom's lesion in most cases.
fn model(folder: &Path) -> String {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).task(PROMPTS).steps(40);
    let config = tiny.set("optimizer.lr = 3e-3").write().display().to_string();
    assert!(sonotune(&["train", &config]).status.success());
    folder.join("run").display().to_string()
}

/// A running session.
struct Session {
    child: Child,
    url: String,
}

impl Session {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sonotune"))
            .args(["annotate", "--no-browser", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        Self { child, url: told["url"].as_str().unwrap().to_owned() }
    }

    fn port(&self) -> String {
        let (_, rest) = self.url.split_once("127.0.0.1:").unwrap();
        rest.split('/').next().unwrap().to_owned()
    }

    /// `kill -9`.
    fn kill(self) {
        drop(self);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The page, in the words of the person at it.
struct Page {
    browser: Browser,
}

impl Page {
    fn facts(&self) -> Value {
        self.browser.evaluate("return {...document.querySelector('[data-test=canvas]').dataset}")
    }

    fn is_ready(&self) {
        self.browser
            .until("return document.querySelector('[data-test=canvas][data-ready=true]') !== null");
    }

    fn is_saved(&self) {
        self.browser.until(
            "return document.querySelector('[data-test=save-state][data-kind=saved]') !== null",
        );
    }

    /// Waits until the canvas says `name` is `value`.
    #[track_caller]
    fn shows(&self, name: &str, value: &str) {
        self.browser.until(&format!(
            "return document.querySelector('[data-test=canvas]').dataset.{name} === '{value}'"
        ));
    }

    /// From the image's pixels to the page's.
    fn spot(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let facts = self.browser.evaluate(
            "const c = document.querySelector('[data-test=canvas]'), b = c.getBoundingClientRect(), d = c.dataset;\
             return [b.x + Number(d.offsetX), b.y + Number(d.offsetY), Number(d.scale)]",
        );
        let of = |i: usize| facts[i].as_f64().unwrap_or_else(|| panic!("{facts} {}", self.facts()));
        assert!(facts[2].is_number(), "{facts} {}", self.facts());
        (of(0) + x * of(2), of(1) + y * of(2))
    }

    fn drag(&self, button: Button, points: &[(f64, f64)]) {
        let points: Vec<_> = points.iter().map(|&point| self.spot(point)).collect();
        self.browser.drag(button, &points);
    }

    /// What the server has saved of an image's object, once the page says that all is saved.
    fn mask(&self, image: usize) -> Value {
        // A change is saved a moment after it was made.
        thread::sleep(Duration::from_millis(500));
        self.is_saved();
        self.browser.evaluate(&format!(
            "return fetch('/api/images/{image}').then(r => r.json()).then(i => i.objects[0].mask.counts)"
        ))
    }

    /// Waits for an answer that has something in it; if the model finds nothing, draws the object by hand.
    fn has_object(&self, [x, y, width, height]: [f64; 4]) {
        let said = "return document.querySelector('[data-test=canvas]').dataset.objects === '1' \
                    || document.body.innerText.includes('The model found nothing there.')";
        self.browser.until(said);
        self.shows("asking", "false");
        if self.facts()["objects"] != "1" {
            self.browser.press(&['b']);
            self.drag(Button::Left, &[(x, y + height / 2.0), (x + width, y + height / 2.0)]);
        }
        self.shows("objects", "1");
        self.is_saved();
    }
}

/// XYWH of an image's first object.
fn first_box(truth: &Value, name: &str) -> [f64; 4] {
    let images = truth["images"].as_array().unwrap();
    let is_named = |image: &&Value| image["file_name"].as_str().unwrap().ends_with(name);
    let id = &images.iter().find(is_named).unwrap()["id"];
    let objects = truth["annotations"].as_array().unwrap();
    let object = objects.iter().find(|object| object["image_id"] == *id);
    object
        .map_or([40.0; 4], |object| [0, 1, 2, 3].map(|side| object["bbox"][side].as_f64().unwrap()))
}

#[test]
fn twenty_images_are_annotated_in_a_browser_although_the_server_is_killed() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = model(folder.path());
    let pictures = images().join("data/images").display().to_string();
    let file = folder.path().join("annotated.json");
    let named = file.display().to_string();
    let arguments = [&pictures, "--run", &run, "--annotations", &named, "--categories", "lesion"];
    let truth = all_truth(&images().join("data/annotations"));
    let mut session = Session::start(&arguments);
    let port = session.port();
    let page = Page { browser };
    page.browser.open(&session.url);
    page.is_ready();
    let mut taken_back = 0;
    for index in 0..NUM_IMAGES {
        page.shows("imageId", &(index + 1).to_string());
        page.is_ready();
        let name = page
            .browser
            .evaluate("return document.querySelector('[data-test=image-name]').textContent");
        let bbox = first_box(&truth, name.as_str().unwrap());
        let [x, y, width, height] = bbox;
        let middle = (x + width / 2.0, y + height / 2.0);
        if index % 2 == 0 {
            page.browser.press(&['c']);
            page.drag(Button::Left, &[middle]);
        } else {
            page.browser.press(&['r']);
            page.drag(Button::Left, &[(x, y), middle, (x + width, y + height)]);
        }
        page.has_object(bbox);
        match index {
            // A correction that is taken back, and one that stays.
            3 | 9 => {
                let before = page.mask(index + 1);
                page.browser.press(&['b']);
                page.drag(Button::Left, &[(3.0, 3.0), (125.0, 3.0), (125.0, 125.0)]);
                page.is_saved();
                if page.mask(index + 1) != before {
                    page.browser.press(&[CONTROL, 'z']);
                    page.shows("objects", "1");
                    page.is_saved();
                    assert_eq!(page.mask(index + 1), before);
                    taken_back += 1;
                }
            }
            4 | 10 => {
                page.browser.press(&['c']);
                page.drag(Button::Right, &[(x + width - 1.0, y + height - 1.0)]);
                page.shows("asking", "false");
                page.browser.press(&['b']);
                page.drag(Button::Left, &[(x, y), (x + width, y)]);
            }
            // The server dies; what is drawn meanwhile is saved by its successor.
            7 => {
                page.is_saved();
                session.kill();
                page.browser.press(&['b']);
                page.drag(Button::Left, &[(x, y), (x + width, y)]);
                page.browser
                    .until("return document.querySelector('[data-test=save-state][data-kind=failed]') !== null");
                session = Session::start(&[&arguments[..], &["--port", &port]].concat());
                // The new address has the new token; what was not saved is offered again.
                page.browser.open(&session.url);
                page.is_ready();
                page.browser
                    .until("return document.querySelector('[data-test=left-restore]') !== null");
                page.browser.evaluate("document.querySelector('[data-test=left-restore]').click()");
                page.shows("imageId", "8");
                page.shows("objects", "1");
            }
            13 => {
                page.browser.reload();
                page.is_ready();
                page.shows("imageId", &(index + 1).to_string());
                page.shows("objects", "1");
            }
            _ => {}
        }
        page.is_saved();
        page.browser.press(&['f']);
    }
    page.is_saved();
    assert!(taken_back > 0);
    page.browser.until("return document.body.innerText.includes('20 of 20 done')");
    session.kill();
    check(&file, &pictures, folder.path());
}

/// The truth of all splits in one.
fn all_truth(folder: &Path) -> Value {
    let mut all = serde_json::json!({ "images": [], "annotations": [] });
    for (split, name) in ["train", "val", "test"].iter().enumerate() {
        let path = folder.join(format!("{name}.json"));
        if !path.exists() {
            continue;
        }
        let file = read_json(&path);
        let key = |id: &Value| format!("{split}/{id}").into();
        for image in file["images"].as_array().unwrap() {
            let mut image = image.clone();
            image["id"] = key(&image["id"]);
            all["images"].as_array_mut().unwrap().push(image);
        }
        for object in file["annotations"].as_array().unwrap() {
            let mut object = object.clone();
            object["image_id"] = key(&object["image_id"]);
            all["annotations"].as_array_mut().unwrap().push(object);
        }
    }
    all
}

/// The file holds all, other programs read it, and a model trains on it as it is.
fn check(file: &Path, pictures: &str, folder: &Path) {
    let coco = read_json(file);
    let (images, objects) =
        (coco["images"].as_array().unwrap(), coco["annotations"].as_array().unwrap());
    assert_eq!((images.len(), objects.len()), (NUM_IMAGES, NUM_IMAGES));
    assert!(images.iter().all(|image| image["sonotune"]["status"] == "done"));
    assert!(objects.iter().all(|object| object["area"].as_f64().unwrap() > 0.0));
    let by_model = objects.iter().filter(|object| object["sonotune"]["source"] == "model").count();
    assert!(by_model >= NUM_IMAGES / 2, "{by_model} objects from the model");
    if let Some(python) = python(&["pycocotools"]) {
        let script = "import sys; from pycocotools.coco import COCO; c = COCO(sys.argv[1]); \
                      print(sum(int(c.annToMask(a).sum()) == a['area'] for a in c.loadAnns(c.getAnnIds())))";
        let output = Command::new(python).args(["-c", script]).arg(file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.lines().last(), Some("20"), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let again = folder.join("again");
    fs::create_dir(&again).unwrap();
    let tiny = Tiny::run(&again).data(Path::new("/")).task(PROMPTS).steps(2);
    let dataset = |key: &str, value: &str| format!("dataset.{key} = {value:?}");
    let file = file.display().to_string();
    let config = [("images", pictures), ("train", &*file), ("val", &*file)]
        .into_iter()
        .fold(tiny, |tiny, (key, value)| tiny.set(&dataset(key, value)))
        .write();
    let config: PathBuf = config;
    assert!(sonotune(&["train", &config.display().to_string()]).status.success());
}

#[test]
fn what_cannot_be_annotated_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = images().join("data/images").display().to_string();
    let file = folder.path().join("annotated.json").display().to_string();
    let base = ["annotate", &pictures, "--annotations", &file, "--no-browser"];
    let refused = |more: &[&str]| sonotune(&[&base, more].concat());
    assert_fails(&refused(&["--order", "uncertainty"]), 2, &["--order", "--run"]);
    assert_fails(&refused(&["task.x=1"]), 2, &["`task.x=1`", "--run or --config"]);
    let session = Session::start(&[&pictures, "--annotations", &file, "--categories", "lesion"]);
    let second = refused(&["--categories", "lesion"]);
    assert_fails(&second, 2, &["annotated.json"]);
    assert_contains(&String::from_utf8_lossy(&second.stderr), &[&session.child.id().to_string()]);
    session.kill();
    let nothing = folder.path().display().to_string();
    assert_fails(&sonotune(&["annotate", &nothing, "--no-browser"]), 3, &[&nothing]);
}
