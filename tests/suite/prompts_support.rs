//! A tiny promptable model, trained once, and images to prompt it with.

use std::{fs, path::Path, process::Output, sync::OnceLock};

use image::{DynamicImage, GrayImage, Luma};
use serde_json::{Value, json};
use sonotune_testing::Tiny;
use tempfile::TempDir;

use crate::support::{assert_success, read_json, sonotune};

/// Phantoms with several lesions per image, and a run of a tiny model on them.
pub(crate) struct Trained {
    pub(crate) folder: TempDir,
}

impl Trained {
    pub(crate) fn get() -> &'static Self {
        static TRAINED: OnceLock<Trained> = OnceLock::new();
        TRAINED.get_or_init(|| {
            let trained = Self { folder: tempfile::tempdir().unwrap() };
            let out = trained.path("phantoms");
            let size = ["--num-images", "20", "--image-size", "64", "--max-lesions", "3"];
            assert_success(&sonotune(&[&["data", "phantom", &out], &size[..]].concat()));
            let config = trained.config("config.toml", &trained.data("annotations/train.json"), "");
            assert_success(&sonotune(&["train", &config]));
            trained
        })
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A file of the phantom dataset.
    pub(crate) fn data(&self, name: &str) -> String {
        self.path(&format!("phantoms/{name}"))
    }

    pub(crate) fn annotations(&self) -> String {
        self.data("annotations/test.json")
    }

    pub(crate) fn config(&self, name: &str, train: &str, more: &str) -> String {
        let (images, run) = (self.data(""), self.path(&format!("run-{name}")));
        let dataset = format!(
            "run_dir = {run:?}\n[dataset]\ntype = \"coco\"\nimages = {images:?}\ntrain = {train:?}"
        );
        let tiny = Tiny::run(self.folder.path()).without("augment").without("dataset");
        let path =
            tiny.with(&dataset).with(CONFIG).with(more).write_to(Path::new(&self.path(name)));
        path.display().to_string()
    }

    pub(crate) fn run(&self) -> String {
        self.path("run-config.toml")
    }
}

/// Predictions of some images.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
}

impl Place {
    /// `a.png` (40 high, 64 wide: the network's input has padding below) and `sub/b.png`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("images/sub")).unwrap();
        let picture = |height, shift: u32| {
            GrayImage::from_fn(64, height, |x, y| Luma([((x * 7 + y * 3 + shift) % 256) as u8]))
        };
        picture(40, 0).save(folder.path().join("images/a.png")).unwrap();
        picture(64, 90).save(folder.path().join("images/sub/b.png")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.folder.path().join(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn predict_images(&self, images: &str, out: &str, more: &[&str]) -> Output {
        let (run, out) = (Trained::get().run(), self.path(out));
        sonotune(&[&["predict", images, "--run", &run, "--out", &out], more].concat())
    }

    pub(crate) fn predict(&self, out: &str, more: &[&str]) -> Output {
        self.predict_images(&self.path("images"), out, more)
    }

    /// With prompts for `a.png` as JSON.
    pub(crate) fn ask(&self, out: &str, objects: &Value) -> Output {
        let file = json!({"images": [{"file_name": "a.png", "objects": objects}]});
        let file = self.write(&format!("{out}.json"), &file.to_string());
        self.predict(out, &["--prompts", &file, "--no-pictures"])
    }

    pub(crate) fn json(&self, out: &str) -> Value {
        read_json(&self.folder.path().join(out).join("predictions.json"))
    }

    pub(crate) fn rows(&self, out: &str) -> Vec<String> {
        let path = self.folder.path().join(out).join("predictions.csv");
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    pub(crate) fn mask(&self, name: &str) -> DynamicImage {
        image::open(self.folder.path().join(name)).unwrap()
    }
}

pub(crate) fn list<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().unwrap()
}

/// The answers, without their names.
pub(crate) fn answers(document: &Value) -> Vec<String> {
    let shown = |a: &Value| format!("{} {} {}", a["image_id"], a["score"], a["segmentation"]);
    list(document, "annotations").iter().map(shown).collect()
}

const CONFIG: &str = r#"
[loader]
num_workers = 1
[backbone]
mlp_dim = 64
window_size = 3
out_channels = 16
[task]
type = "sam_prompt"
[task.evaluation]
# The single mask of this tiny model has pixels for every prompt; its three may be empty.
multimask = "ambiguous"
[task.decoder]
num_heads = 2
mlp_dim = 32
[optimizer]
lr = 5e-3
[train]
max_steps = 300
[logging]
every_steps = 300
"#;
