//! `sonotune init`: a folder in each layout gets a config that the other verbs accept and that trains.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    assert_contains, assert_fails, assert_success, json as json_of, sonotune, stdout,
};

/// A grey image of 48 × 40 with a disc that is brighter, smaller or larger, and a little noise that differs.
fn draw(path: &Path, seed: u32, radius: f32) {
    let (x0, y0) = (16.0 + (seed % 5) as f32 * 3.0, 14.0 + (seed % 3) as f32 * 4.0);
    let image = image::GrayImage::from_fn(48, 40, |x, y| {
        let inside = (x as f32 - x0).hypot(y as f32 - y0) < radius;
        let noise = (x * 7919 + y * 104_729 + seed * 15_485_863) % 97;
        image::Luma([(if inside { 140 } else { 20 } + noise) as u8])
    });
    save(&image, path);
}

/// Its mask.
fn mask(path: &Path, seed: u32, radius: f32) {
    let (x0, y0) = (16.0 + (seed % 5) as f32 * 3.0, 14.0 + (seed % 3) as f32 * 4.0);
    let inside = |x: u32, y: u32| (x as f32 - x0).hypot(y as f32 - y0) < radius;
    save(
        &image::GrayImage::from_fn(48, 40, |x, y| {
            image::Luma([if inside(x, y) { 255 } else { 0 }])
        }),
        path,
    );
}

fn save(image: &image::GrayImage, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

/// A folder with images, and one beside it for the output.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// Runs `init` and returns its report.
    #[track_caller]
    fn init(&self, more: &[&str]) -> Value {
        let (data, out, run) = (self.text("data"), self.text("out"), self.text("run"));
        let args = ["init", &data, "--out", &out, "--run-dir", &run, "--device", "cpu", "--json"];
        json_of(&sonotune(&[&args[..], more].concat()))
    }

    /// What the next commands say of the config.
    #[track_caller]
    fn accepted(&self) {
        let config = self.text("out/config.toml");
        assert_success(&sonotune(&["config", "validate", &config]));
        assert_success(&sonotune(&["data", "check", &config]));
        let dry = ["train", &config, "--dry-run", "--dry-run-steps", "1", "--anyway"];
        let small = ["loader.batch_size=2", "evaluation.batch_size=2", "preprocess.image_size=64"];
        assert_success(&sonotune(&[&dry[..], &small].concat()));
    }

    /// A few steps.
    #[track_caller]
    fn trains(&self, more: &[&str]) {
        let config = self.text("out/config.toml");
        let few = [
            "train.max_steps=2",
            "evaluation.every_steps=2",
            "loader.batch_size=2",
            "schedule.warmup.steps=1",
        ];
        assert_success(&sonotune(&[&["train", &config], &few[..], more].concat()));
    }
}

fn line<'a>(report: &'a Value, key: &str) -> &'a Value {
    let lines = report["lines"].as_array().unwrap();
    let named = |line: &&Value| {
        format!("{}.{}", line["table"].as_str().unwrap(), line["key"].as_str().unwrap()) == key
    };
    &lines.iter().find(named).unwrap_or_else(|| panic!("no line {key}"))["value"]
}

#[test]
fn busi_s_folders_become_a_classification_and_its_masks_another_task() {
    let place = Place::new();
    for (class, radius) in [("benign", 5.0), ("malignant", 9.0), ("normal", 0.0)] {
        for i in 1..=8 {
            let name = format!("data/{class}/images/{class} ({i}).png");
            draw(&place.at(&name), i, radius);
            mask(&place.at(&format!("data/{class}/mask/{class} ({i})_mask.png")), i, radius);
        }
    }
    // A second mask of one image, as BUSI has.
    mask(&place.at("data/benign/mask/benign (1)_mask_1.png"), 4, 4.0);
    let report = place.init(&[]);
    assert_eq!(report["task"], "classification");
    assert_eq!(report["other_tasks"], json!(["sam_prompt", "mask2former"]));
    assert_eq!(report["fingerprint"]["images"], 24);
    assert_eq!(line(&report, "dataset.categories"), &json!(["benign", "malignant", "normal"]));
    let text = fs::read_to_string(place.at("out/config.toml")).unwrap();
    assert_contains(&text, &["config.toml --dry-run", "# guess: "]);
    place.accepted();
    place.trains(&[]);

    // Nothing is replaced unless that is asked for, and nothing of the former config is left.
    let (data, out) = (place.text("data"), place.text("out"));
    let again = ["init", &data, "--out", &out, "--device", "cpu"];
    assert_fails(&sonotune(&again), 2, &["--overwrite replaces it"]);
    let report = place.init(&["--overwrite", "--task", "mask2former"]);
    assert_eq!(report["task"], "mask2former");
    assert_eq!(report["fingerprint"]["objects"]["empty_images"], 8);
    assert!(!place.at("out/train.txt").exists());
    place.accepted();
}

#[test]
fn masks_beside_images_become_prompts_and_images_stay_where_they_are() {
    let place = Place::new();
    for i in 1..=20 {
        draw(&place.at(&format!("data/Test_Image_{i}.png")), i, 8.0);
        mask(&place.at(&format!("data/mask_{i}.png")), i, 8.0);
    }
    let report = place.init(&["--category", "tumour"]);
    assert_eq!(report["task"], "sam_prompt");
    assert_eq!(report["fingerprint"]["classes"], json!([["tumour", 20]]));
    let decisions = report["decisions"].to_string();
    assert_contains(&report["notes"].to_string(), &["paired with images by the number"]);
    assert_contains(&decisions, &["patients are not known"]);
    assert!(!place.at("out/images").exists());
    place.accepted();
    let small = ["preprocess.image_size=64", "backbone.image_size=64"];
    place.trains(&small);
}

#[test]
fn a_coco_export_of_roboflow_keeps_its_splits() {
    let place = Place::new();
    for (split, count, first) in [("train", 8, 0), ("valid", 3, 10), ("test", 3, 20)] {
        let (mut images, mut objects) = (Vec::new(), Vec::new());
        for i in 1..=count {
            let name = format!("{i}_png.rf.0a1b.png");
            draw(&place.at(&format!("data/{split}/{name}")), i + first, 8.0);
            images.push(json!({ "id": i, "file_name": name, "height": 40, "width": 48 }));
            let hexagon = [10, 8, 26, 8, 30, 16, 26, 24, 10, 24, 6, 16];
            objects.push(json!({
                "id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [6, 8, 24, 16],
                "area": 320, "segmentation": [hexagon], "iscrowd": 0,
            }));
        }
        let categories = ["lesions", "benign", "malignant"];
        let categories =
            categories.iter().enumerate().map(|(id, name)| json!({ "id": id, "name": name }));
        let file = json!({
            "images": images, "annotations": objects, "categories": categories.collect::<Vec<_>>(),
        });
        fs::write(place.at(&format!("data/{split}/_annotations.coco.json")), file.to_string())
            .unwrap();
    }
    let report = place.init(&[]);
    assert_eq!(report["task"], "mask2former");
    assert_eq!(line(&report, "dataset.ignore_categories"), &json!(["lesions"]));
    assert_eq!(report["files"].as_array().unwrap().len(), 1);
    place.accepted();

    // One file alone is divided.
    let file = place.text("data/train/_annotations.coco.json");
    let out = place.text("single");
    let args =
        ["init", &file, "--out", &out, "--device", "cpu", "--task", "classification", "--json"];
    let report = json_of(&sonotune(&args));
    assert_eq!(report["files"].as_array().unwrap().len(), 4);
    assert_success(&sonotune(&["config", "validate", &place.text("single/config.toml")]));
}

#[test]
fn classes_with_splits_keep_them_and_a_damaged_image_is_left_out() {
    let place = Place::new();
    for (split, count, first) in [("train", 6, 0), ("val", 3, 10), ("test", 3, 20)] {
        for (class, radius) in [("a", 4.0), ("b", 10.0)] {
            for i in 1..=count {
                draw(&place.at(&format!("data/{split}/{class}/{i}.png")), i + first, radius);
            }
        }
    }
    fs::write(place.at("data/train/a/broken.png"), "not an image").unwrap();
    let report = place.init(&[]);
    assert_contains(&report["notes"].to_string(), &["1 image that cannot be read"]);
    let division = &report["division"];
    assert_eq!([&division["train"], &division["val"], &division["test"]], [12, 6, 6]);
    let list = fs::read_to_string(place.at("out/val.txt")).unwrap();
    assert!(list.contains("val/a/1.png\ta") && !list.contains("train/"), "{list}");
    place.accepted();
}

#[test]
fn what_cannot_be_learnt_from_is_refused_with_a_remedy() {
    let place = Place::new();
    let init = |place: &Place, more: &[&str]| {
        let (data, out) = (place.text("data"), place.text("out"));
        sonotune(&[&["init", &data, "--out", &out, "--device", "cpu"], more].concat())
    };
    assert_fails(&init(&place, &[]), 3, &["is empty"]);
    for i in 1..=4 {
        draw(&place.at(&format!("data/benign/{i}.png")), i, 5.0);
    }
    assert_fails(&init(&place, &[]), 3, &["one folder, `benign`", "sonotune predict"]);
    for i in 1..=4 {
        draw(&place.at(&format!("data/malignant/{i}.png")), i + 4, 9.0);
    }
    assert_fails(&init(&place, &["--task", "mask2former"]), 3, &["they allow classification"]);
    let inside = place.text("data/out");
    let data = place.text("data");
    let args = ["init", &data, "--out", &inside, "--device", "cpu"];
    assert_fails(&sonotune(&args), 2, &["is inside the data"]);
    assert!(stdout(&init(&place, &[])).contains("next:"));
}

/// BUSI, HC18 and STU-Hospital as they are downloaded; training on BUSI takes minutes.
#[test]
fn published_datasets_get_a_config_that_learns() {
    let folder = std::env::var_os("SONOTUNE_REAL_DATA").map(std::path::PathBuf::from);
    for (name, task) in
        [("BUSI", "classification"), ("STU-Hospital", "sam_prompt"), ("HC", "sam_prompt")]
    {
        let source = folder.as_deref().unwrap_or(Path::new("")).join(name);
        if folder.is_none() || !source.is_dir() {
            println!("skipped: {name} is missing (SONOTUNE_REAL_DATA names a folder with it)");
            continue;
        }
        let place = Place::new();
        let (data, out, run) = (source.display().to_string(), place.text("out"), place.text("run"));
        let args = ["init", &data, "--out", &out, "--run-dir", &run, "--device", "cpu", "--json"];
        let report = json_of(&sonotune(&args));
        assert_eq!(report["task"], task, "{name}");
        let config = place.text("out/config.toml");
        assert_success(&sonotune(&["config", "validate", &config]));
        assert_success(&sonotune(&["data", "check", &config, "--quick"]));
        assert_success(&sonotune(&["train", &config, "--dry-run", "--dry-run-steps", "1"]));
        if name != "BUSI" {
            continue;
        }
        if std::env::var_os("SONOTUNE_LONG_TESTS").is_none() {
            println!("skipped: training on {name} takes minutes (SONOTUNE_LONG_TESTS=1 does it)");
            continue;
        }
        assert_success(&sonotune(&["train", &config]));
        let scores = crate::support::eval(&place.at("run"), "test");
        let auroc = scores["metrics"]["auroc"].as_f64().unwrap_or_default();
        assert!(auroc >= 0.75, "{auroc}: {scores}");
    }
}
