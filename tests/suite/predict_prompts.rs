//! `sonotune predict` with a promptable model: what is asked, what is refused, what is written.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use engine::{
    Result,
    backbone::{Backbone, BackboneSpec, Level, PIXEL_MEAN, PIXEL_STD},
    data::{Batch, Category, ImageId, ImagePrompts, ObjectPrompt, PointPrompt, Target},
    task::TaskConfig,
    tch::{Device, Kind, Tensor, nn, no_grad},
};
use image::{DynamicImage, GrayImage, Luma};
use sam_prompt::{DecoderConfig, SamPromptConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{self, assert_fails, python, sonotune};

/// What a command that went well has printed.
#[track_caller]
fn assert_success(output: &Output) -> String {
    support::assert_success(output);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Phantoms with several lesions an image, and a run of a tiny model on them.
struct Trained {
    folder: TempDir,
}

impl Trained {
    fn get() -> &'static Self {
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

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A file of the phantom dataset.
    fn data(&self, name: &str) -> String {
        self.path(&format!("phantoms/{name}"))
    }

    fn annotations(&self) -> String {
        self.data("annotations/test.json")
    }

    fn config(&self, name: &str, train: &str, more: &str) -> String {
        let text = format!(
            r#"
seed = 3
device = "cpu"
run_dir = "{run}"
[dataset]
type = "coco"
images = "{images}"
train = "{train}"
[preprocess]
image_size = 64
[loader]
batch_size = 4
num_workers = 1
[backbone]
type = "sam_vit"
embed_dim = 32
depth = 2
num_heads = 2
mlp_dim = 64
window_size = 3
global_attn_indexes = [1]
image_size = 64
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
{more}
"#,
            run = self.path(&format!("run-{name}")),
            images = self.data(""),
        );
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self) -> String {
        self.path("run-config.toml")
    }
}

/// Predictions of some images.
struct Place {
    folder: TempDir,
}

impl Place {
    /// `a.png` (40 high, 64 wide: the network's input has padding below) and `sub/b.png`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("images/sub")).unwrap();
        let picture = |height, shift: u32| {
            GrayImage::from_fn(64, height, |x, y| Luma([((x * 7 + y * 3 + shift) % 256) as u8]))
        };
        picture(40, 0).save(folder.path().join("images/a.png")).unwrap();
        picture(64, 90).save(folder.path().join("images/sub/b.png")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.folder.path().join(name), text).unwrap();
        self.path(name)
    }

    fn predict_images(&self, images: &str, out: &str, more: &[&str]) -> Output {
        let (run, out) = (Trained::get().run(), self.path(out));
        sonotune(&[&["predict", images, "--run", &run, "--out", &out], more].concat())
    }

    fn predict(&self, out: &str, more: &[&str]) -> Output {
        self.predict_images(&self.path("images"), out, more)
    }

    /// With prompts for `a.png` as JSON.
    fn ask(&self, out: &str, objects: &Value) -> Output {
        let file = json!({"images": [{"file_name": "a.png", "objects": objects}]});
        let file = self.write(&format!("{out}.json"), &file.to_string());
        self.predict(out, &["--prompts", &file, "--no-pictures"])
    }

    fn json(&self, out: &str) -> Value {
        let path = self.folder.path().join(out).join("predictions.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn rows(&self, out: &str) -> Vec<String> {
        let path = self.folder.path().join(out).join("predictions.csv");
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    fn mask(&self, name: &str) -> DynamicImage {
        image::open(self.folder.path().join(name)).unwrap()
    }
}

fn list<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().unwrap()
}

/// What the answers are, without how they are called.
fn answers(document: &Value) -> Vec<String> {
    let shown = |a: &Value| format!("{} {} {}", a["image_id"], a["score"], a["segmentation"]);
    list(document, "annotations").iter().map(shown).collect()
}

#[test]
fn json_prompts_are_answered_one_by_one() {
    let place = Place::new();
    let prompts = json!({"images": [
        {"file_name": "sub/b.png", "objects": [{"points": [[3, 60]]}]},
        {"file_name": "a.png", "objects": [
            {"name": "left", "points": [[10, 10, 1], [50, 30, 0]]},
            {"box": [5, 5, 30, 30]},
            {"mask": [[10, 10, 30, 10, 30, 30, 10, 30]], "points": [[12, 12]]},
            {"points": [[10, 10, 1], [50, 30, 0]], "box": [5, 5, 30, 30]},
        ]},
    ]});
    let file = place.write("prompts.json", &prompts.to_string());
    assert_success(&place.predict("out", &["--prompts", &file]));
    let document = place.json("out");
    let images: Vec<_> = list(&document, "images")
        .iter()
        .map(|i| format!("{} {} {}x{}", i["id"], i["file_name"], i["height"], i["width"]))
        .collect();
    assert_eq!(images, [r#"1 "a.png" 40x64"#, r#"2 "sub/b.png" 64x64"#]);
    let found = list(&document, "annotations");
    let of: Vec<_> = found.iter().map(|a| (a["image_id"].as_u64(), a["label"].as_u64())).collect();
    let expected = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)].map(|(i, l)| (Some(i), Some(l)));
    assert_eq!(of, expected);
    assert_eq!(found[0]["prompt"], json!({"index": 0, "name": "left"}));
    assert_eq!(found[1]["prompt"], json!({"index": 1}));
    // Every prompt changes the answer.
    let unlike: std::collections::HashSet<_> =
        found.iter().map(|a| a["score"].to_string()).collect();
    assert_eq!(unlike.len(), 5, "{unlike:?}");

    let rows = place.rows("out");
    assert_eq!(rows[0], "image,label,name,category,score,area,x0,y0,x1,y1");
    assert!(rows[1].starts_with("a.png,1,left,") && rows[5].starts_with("sub/b.png,1,,"));
    // The label map shows what the file says, where nothing lies on top.
    let map = place.mask("out/masks/a.png").into_luma8();
    assert_eq!(map.dimensions(), (64, 40));
    let best = (0..4).max_by(|&a, &b| {
        let score = |i: usize| found[i]["score"].as_f64().unwrap();
        score(a).total_cmp(&score(b))
    });
    let label = best.unwrap() as u8 + 1;
    let area = map.iter().filter(|&&l| l == label).count();
    assert!(found.iter().any(|a| a["area"].as_f64() > Some(0.0)));
    assert_eq!(json!(area as f64), found[usize::from(label) - 1]["area"]);
    assert_eq!(place.mask("out/pictures/sub_b.png").width(), 256);

    // One file an object, then none.
    let objects = ["--prompts", &file, "--masks", "objects", "--overwrite"];
    assert_success(&place.predict("out", &objects));
    let single = place.mask(&format!("out/masks/a/{label}.png")).into_luma8();
    assert_eq!(single.iter().filter(|&&v| v == 255).count(), area);
    assert!(!Path::new(&place.path("out/masks/a.png")).exists());
    let none = ["--prompts", &file, "--masks", "none", "--no-pictures", "--overwrite"];
    let printed = assert_success(&place.predict("out", &[&none[..], &["--json"]].concat()));
    let record: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&record["num_images"], &record["num_objects"]), (&json!(2), &json!(5)));
    assert!(record["masks"].is_null() && !Path::new(&place.path("out/masks")).exists());
    assert_eq!(answers(&place.json("out")), answers(&document));
}

#[test]
fn csv_prompts_give_the_same_answers_as_json() {
    let place = Place::new();
    let table = place.write(
        "p.csv",
        "image,name,category,x,y,label,x0,y0,x1,y1\n\
         a.png,one,,10,10,1,,,,\n\
         a.png,,,,,,5,5,30,30\n\
         a.png,one,,50,30,0,,,,\n",
    );
    assert_success(&place.predict("csv", &["--prompts", &table, "--no-pictures"]));
    let objects = json!([{"points": [[10, 10, 1], [50, 30, 0]]}, {"box": [5, 5, 30, 30]}]);
    assert_success(&place.ask("json", &objects));
    assert_eq!(answers(&place.json("csv")), answers(&place.json("json")));
    assert_eq!(list(&place.json("csv"), "annotations").len(), 2);
}

#[test]
fn the_answer_to_a_prompt_does_not_depend_on_the_others() {
    let place = Place::new();
    let first = json!({"points": [[10, 10, 1], [50, 30, 0]]});
    assert_success(&place.ask("alone", &json!([first])));
    let others: Vec<_> = (0..40).map(|i| json!({"points": [[i, 20]]})).collect();
    let all: Vec<_> = others.iter().cloned().chain([first]).collect();
    assert_success(&place.ask("among", &json!(all)));
    let (alone, among) = (place.json("alone"), place.json("among"));
    let score =
        |document: &Value, i: usize| list(document, "annotations")[i]["score"].as_f64().unwrap();
    // Matrix products of other shapes round otherwise.
    assert!((score(&alone, 0) - score(&among, 40)).abs() < 1e-5);
    assert!((score(&among, 0) - score(&among, 40)).abs() > 1e-4);
}

#[test]
fn annotated_objects_are_asked_about_and_keep_their_ids() {
    let (place, trained) = (Place::new(), Trained::get());
    let truth: Value = serde_json::from_slice(&fs::read(trained.annotations()).unwrap()).unwrap();
    let on_test = |out: &str, more: &[&str]| {
        let annotations = trained.annotations();
        let all = [&["--annotations", annotations.as_str(), "--no-pictures"], more].concat();
        place.predict_images(&trained.data(""), out, &all)
    };
    let printed = assert_success(&on_test("boxes", &[]));
    assert!(printed.contains("without prompts left out"), "{printed}");
    let document = place.json("boxes");
    let key = |list: &[Value], keys: &[&str]| -> Vec<String> {
        list.iter().map(|v| keys.iter().map(|k| format!("{} ", v[*k])).collect()).collect()
    };
    let images = ["id", "file_name", "width", "height"];
    assert_eq!(key(list(&document, "images"), &images), key(list(&truth, "images"), &images));
    let objects = ["image_id", "category_id"];
    let found = list(&document, "annotations");
    assert_eq!(key(found, &objects), key(list(&truth, "annotations"), &objects));
    assert_eq!(
        key(list(&document, "categories"), &["id", "name"]),
        key(list(&truth, "categories"), &["id", "name"])
    );
    assert!(document["info"]["prompts"].as_str().unwrap().starts_with("box of the objects in"));

    assert_success(&on_test("clicks", &["--protocol", "clicks"]));
    assert_eq!(list(&place.json("clicks"), "annotations").len(), found.len());
    assert_success(&on_test("centre", &["--protocol", "center_point"]));
    assert_ne!(answers(&place.json("centre")), answers(&document));
    assert_fails(
        &on_test("x", &["--protocol", "boxes"]),
        2,
        &["task.evaluation.protocols", "boxes", "center_point"],
    );

    // One image alone: of the annotations only its own count.
    let file_name = truth["images"][0]["file_name"].as_str().unwrap();
    let single = trained.data(file_name);
    let annotations = trained.annotations();
    assert_success(&place.predict_images(&single, "one", &["--annotations", &annotations]));
    assert_eq!(list(&place.json("one"), "images").len(), 1);
    assert_eq!(place.json("one")["images"][0]["id"], truth["images"][0]["id"]);
    // Images that the file names must be there.
    let other = place.predict("x", &["--annotations", &annotations]);
    assert_fails(&other, 3, &["test.json", "there is no image", "missing"]);
}

#[test]
fn predictions_are_scored_and_trained_on_as_they_are() {
    let (place, trained) = (Place::new(), Trained::get());
    let truth = trained.annotations();
    let images = trained.data("");
    let ask = ["--annotations", truth.as_str(), "--no-pictures"];
    assert_success(&place.predict_images(&images, "out", &ask));
    let found = place.path("out/predictions.json");
    for kind in ["bbox", "segm"] {
        let args = ["coco-eval", &truth, &found, "--iou-type", kind, "--json"];
        let scores: Value = serde_json::from_str(&assert_success(&sonotune(&args))).unwrap();
        assert_eq!(list(&scores, "stats").len(), 12);
        // The ground truth of the predictions is found without a fault by the predictions.
        let args = ["coco-eval", &found, &found, "--iou-type", kind, "--json"];
        let scores: Value = serde_json::from_str(&assert_success(&sonotune(&args))).unwrap();
        assert!(scores["stats"][0].as_f64().unwrap() > 0.999, "{scores}");
    }
    let config = trained.config("again.toml", &found, "");
    let run = format!("run_dir={}", place.path("again"));
    assert_success(&sonotune(&["train", &config, &run, "train.max_steps=1"]));
    assert_success(&sonotune(&["data", "check", &config]));
}

#[test]
fn pycocotools_reads_the_predictions_as_ground_truth_and_as_results() {
    let Some(python) = python(&["pycocotools", "numpy"]) else { return };
    let (place, trained) = (Place::new(), Trained::get());
    let truth = trained.annotations();
    let ask = ["--annotations", truth.as_str(), "--no-pictures"];
    assert_success(&place.predict_images(&trained.data(""), "out", &ask));
    let code = r"
import json, sys
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
truth, found = sys.argv[1:]
own = COCO(found)
for id, ann in own.anns.items():
    mask = own.annToMask(ann)
    assert mask.sum() == ann['area'], ann
    if ann['area']:
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        x, y, w, h = ann['bbox']
        assert box == [x, y, x + w, y + h], ann
results = COCO(truth).loadRes(json.load(open(found))['annotations'])
for kind in ('bbox', 'segm'):
    e = COCOeval(COCO(truth), results, kind)
    e.evaluate(); e.accumulate(); e.summarize()
    print('STATS', json.dumps(list(e.stats)))
";
    let found = place.path("out/predictions.json");
    let output = Command::new(python).args(["-c", code, &truth, &found]).output().unwrap();
    let printed = assert_success(&output);
    let theirs: Vec<Vec<f64>> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("STATS "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(theirs.len(), 2);
    for (kind, theirs) in ["bbox", "segm"].into_iter().zip(theirs) {
        let args = ["coco-eval", &truth, &found, "--iou-type", kind, "--json"];
        let ours: Value = serde_json::from_str(&assert_success(&sonotune(&args))).unwrap();
        for (ours, theirs) in list(&ours, "stats").iter().zip(theirs) {
            assert!((ours.as_f64().unwrap() - theirs).abs() < 1e-12);
        }
    }
}

#[test]
fn everything_finds_masks_that_differ() {
    let place = Place::new();
    let easy = [
        "--everything",
        "task.everything.points_per_side=8",
        "task.everything.pred_iou_thresh=-10.0",
        "task.everything.stability_score_thresh=0.0",
    ];
    let image = Trained::get().data("images/000000.png");
    assert_success(&place.predict_images(&image, "all", &easy));
    let document = place.json("all");
    let found = list(&document, "annotations");
    assert!(found.len() > 2 && list(&document, "images").len() == 1, "{}", found.len());
    assert!(found.iter().all(|a| a["area"].as_f64().unwrap() >= 16.0 && a["prompt"].is_null()));
    assert_eq!(document["categories"].as_array().unwrap().len(), 1);
    assert_eq!(document["categories"][0]["name"], "object");
    let of_first: Vec<_> = found.iter().filter(|a| a["image_id"] == 1).collect();
    let scores: Vec<_> = of_first.iter().map(|a| a["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    // Nothing passes a filter that nothing can pass; that is no error.
    let strict = ["--everything", "--no-pictures", "task.everything.pred_iou_thresh=10.0"];
    let printed = assert_success(&place.predict("none", &strict));
    assert!(printed.contains("2 image(s), 0 object(s),"), "{printed}");
    assert!(printed.contains("2 image(s) without an object"), "{printed}");
    assert_eq!(list(&place.json("none"), "annotations").len(), 0);
    assert_eq!(list(&place.json("none"), "images").len(), 2);
    assert_eq!(place.rows("none").len(), 1);
}

#[test]
fn a_promptable_model_says_how_to_ask_and_takes_one_way_at_a_time() {
    let place = Place::new();
    assert_fails(
        &place.predict("x", &[]),
        2,
        &["--prompts FILE", "--annotations COCO.json", "--everything"],
    );
    let file = place.write("p.csv", "image,x,y\na.png,1,1\n");
    assert_fails(&place.predict("x", &["--prompts", &file, "--everything"]), 2, &["--everything"]);
    assert_fails(
        &place.predict("x", &["--everything", "--protocol", "box"]),
        2,
        &["--annotations"],
    );
    assert!(!Path::new(&place.path("x")).exists());
}

#[test]
fn a_task_without_prompts_refuses_them() {
    let (place, trained) = (Place::new(), Trained::get());
    let train = trained.data("annotations/train.json");
    let config = trained.config("classes.toml", &train, "");
    let text = fs::read_to_string(&config).unwrap();
    let task = text.find("[task]").unwrap();
    let end = text.find("[optimizer]").unwrap();
    let classes = "[task]\ntype = \"classification\"\n";
    fs::write(&config, [&text[..task], classes, &text[end..]].concat()).unwrap();
    let run = place.path("classes");
    let run_dir = format!("run_dir={run}");
    assert_success(&sonotune(&["train", &config, &run_dir, "train.max_steps=1"]));
    let (images, out) = (place.path("images"), place.path("out"));
    let predict = ["predict", images.as_str(), "--run", &run, "--out", &out];
    assert_fails(&sonotune(&[&predict[..], &["--everything"]].concat()), 2, &["takes no prompts"]);
    assert_success(&sonotune(&predict));
    let document = place.json("out");
    assert_eq!(document["images"][0]["image"], "a.png");
    assert_eq!(document["images"][0]["scores"].as_object().unwrap().len(), 3);
    assert!(place.rows("out")[0].starts_with("image,labels,score_"));
    assert!(!Path::new(&place.path("out/masks")).exists());
}

#[test]
fn prompts_that_miss_their_image_cost_that_image_only() {
    let place = Place::new();
    for (i, (object, what)) in [
        (json!({"points": [[64, 3]]}), "point (64, 3) lies outside"),
        // The network's input is 64 pixels high, of which 24 are padding.
        (json!({"points": [[3, 45]]}), "point (3, 45) lies outside"),
        (json!({"box": [5, 5, 5, 9]}), "has no extent"),
        (json!({"box": [3, 41, 9, 60]}), "covers no pixel"),
        (json!({"mask": {"size": [64, 64], "counts": [0, 4096]}}), "64×64"),
        (json!({"mask": {"size": [40, 64], "counts": [2560]}}), "no pixel"),
    ]
    .into_iter()
    .enumerate()
    {
        let prompts = json!({"images": [
            {"file_name": "a.png", "objects": [{"points": [[1, 1]]}, object]},
            {"file_name": "sub/b.png", "objects": [{"points": [[3, 45]]}]},
        ]});
        let (file, out) = (place.write("p.json", &prompts.to_string()), format!("out-{i}"));
        let output = place.predict(&out, &["--prompts", &file, "--no-pictures"]);
        assert_fails(&output, 3, &["a.png", "prompt 2", what, "40x64"]);
        let document = place.json(&out);
        assert_eq!(list(&document, "images").len(), 1);
        assert_eq!(document["images"][0]["file_name"], "sub/b.png");
        assert_eq!(list(&document["info"], "failures").len(), 1);
    }
    // A file that is no image neither.
    fs::write(place.path("images/c.png"), "no image").unwrap();
    let file = place.write("p.csv", "image,x,y\na.png,1,1\nc.png,1,1\nsub/b.png,1,1\n");
    let output = place.predict("damaged", &["--prompts", &file, "--no-pictures"]);
    assert_fails(&output, 3, &["1 image(s) have no prediction", "c.png"]);
    assert_eq!(list(&place.json("damaged"), "images").len(), 2);
}

#[test]
fn a_box_partly_outside_is_cut_and_that_is_said() {
    let place = Place::new();
    let printed =
        assert_success(&place.ask("outside", &json!([{"name": "n", "box": [-5, 3, 30, 99]}])));
    assert!(printed.contains("a.png") && printed.contains("[-5, 3, 30, 99]"), "{printed}");
    assert!(printed.contains("prompt 1 (\"n\")") && printed.contains("cut"), "{printed}");
    assert_success(&place.ask("inside", &json!([{"box": [0, 3, 30, 40]}])));
    assert_eq!(answers(&place.json("outside")), answers(&place.json("inside")));
    let notes = place.json("outside")["info"]["notes"].to_string();
    assert!(notes.contains("reaches beyond"), "{notes}");
    assert_eq!(place.json("inside")["info"]["notes"], json!([]));
}

#[test]
fn names_that_do_not_fit_are_told_before_anything_is_computed() {
    let place = Place::new();
    let csv = |text: &str| place.write("p.csv", text);
    let ask = |file: &str, out: &str| place.predict(out, &["--prompts", file, "--no-pictures"]);
    let refused = |text: &str, parts: &[&str]| {
        assert_fails(&ask(&csv(text), "x"), 3, &[&["p.csv", "line 3"], parts].concat());
        assert!(!Path::new(&place.path("x")).exists());
    };
    refused("image,x,y\na.png,1,1\nb.png,1,1\n", &["\"b.png\"", "did you mean \"sub/b.png\""]);
    refused("image,x,y\na.png,1,1\nz.png,1,1\n", &["no image \"z.png\"", "1 of the 2 images"]);
    refused("image,category,x,y\na.png,,1,1\na.png,benig,1,1\n", &["did you mean \"benign\""]);
    refused("image,x,y\na.png,1,1\na.png,one,1\n", &["x = \"one\""]);
    let file = place.write("p.txt", "");
    assert_fails(&ask(&file, "x"), 3, &["p.txt", ".json or .csv"]);
    assert_fails(&ask(&place.path("none.csv"), "x"), 3, &["none.csv"]);

    // Images that nobody asks about are left out, and listed.
    let printed = assert_success(&ask(&csv("image,x,y\na.png,1,1\n"), "out"));
    assert!(printed.contains("1 image(s) without prompts left out:\n  sub/b.png"), "{printed}");
    assert_eq!(list(&place.json("out"), "images").len(), 1);
    assert_eq!(place.json("out")["info"]["without_prompts"], json!(["sub/b.png"]));
    let empty = json!({"images": [{"file_name": "a.png", "objects": []}]}).to_string();
    assert_fails(&ask(&place.write("e.json", &empty), "x"), 3, &["none of the images", "e.json"]);

    // A category that is known; and one that could be any, which nobody makes up.
    let both = csv("image,category,x,y\na.png,malignant,1,1\na.png,,1,1\n");
    assert_success(&ask(&both, "both"));
    let rows = place.rows("both");
    assert!(rows[1].starts_with("a.png,1,,malignant,"), "{rows:?}");
    assert!(rows[2].starts_with("a.png,2,,object,"), "{rows:?}");
}

#[test]
fn a_thousand_objects_of_one_image_are_answered() {
    let place = Place::new();
    let objects: Vec<_> = (0..1000)
        .map(|i| match i % 3 {
            0 => json!({"points": [[i % 64, i % 40]]}),
            1 => json!({"box": [i % 32, i % 20, 32 + i % 32, 20 + i % 20]}),
            _ => json!({"points": [[i % 64, i % 40], [5, 5, 0]], "box": [0, 0, 64, 40]}),
        })
        .collect();
    assert_success(&place.ask("out", &json!(objects)));
    let document = place.json("out");
    let order: Vec<_> = list(&document, "annotations")
        .iter()
        .map(|a| a["prompt"]["index"].as_u64().unwrap())
        .collect();
    assert_eq!(order, (0..1000).collect::<Vec<_>>());
    assert!(matches!(place.mask("out/masks/a.png"), DynamicImage::ImageLuma16(_)));
}

#[test]
fn pretrained_weights_need_no_dataset() {
    let (place, trained) = (Place::new(), Trained::get());
    let weights = format!(
        "[weights]\npath = \"{}\"\n",
        PathBuf::from(trained.run()).join("checkpoints/last.safetensors").display()
    );
    let config = trained.config("pretrained.toml", "/no/such/file.json", &weights);
    let file = place.write("p.csv", "image,category,x,y\na.png,cyst,9,9\na.png,,9,9\n");
    let (images, out) = (place.path("images"), place.path("out"));
    let predict = ["predict", &images, "--config", &config, "--out", &out, "--prompts", &file];
    assert_success(&sonotune(&predict));
    let document = place.json("out");
    let names: Vec<_> = list(&document, "categories").iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["object", "cyst"]);
    let ids: Vec<_> = list(&document, "annotations").iter().map(|a| &a["category_id"]).collect();
    assert_eq!(ids, [2, 1]);
    // The same weights, the same answers.
    assert_success(&place.ask("run", &json!([{"points": [[9, 9]]}, {"points": [[9, 9]]}])));
    assert_eq!(answers(&document), answers(&place.json("run")));
}

/// Counts how often it is asked.
#[derive(Debug)]
struct Counting {
    spec: BackboneSpec,
    images: Arc<AtomicUsize>,
}

impl Backbone for Counting {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn forward(&self, images: &Tensor, _train: bool) -> Result<Vec<Tensor>> {
        let (count, _, height, width) = images.size4()?;
        self.images.fetch_add(count as usize, Ordering::SeqCst);
        let shape = [count, 16, height / 16, width / 16];
        Ok(vec![Tensor::arange(count * 16 * 16, (Kind::Float, Device::Cpu)).sin().view(shape)])
    }
}

#[test]
fn an_image_is_embedded_once_however_many_prompts_follow() {
    let images = Arc::new(AtomicUsize::new(0));
    let spec = BackboneSpec {
        pixel_mean: PIXEL_MEAN,
        pixel_std: PIXEL_STD,
        square_size: Some(64),
        divisor: 16,
        levels: vec![Level { channels: 16, stride: 16 }],
    };
    let vs = nn::VarStore::new(Device::Cpu);
    let decoder = DecoderConfig { num_heads: 2, mlp_dim: 32, ..DecoderConfig::default() };
    // With refinement the decoder runs twice.
    let config = SamPromptConfig { decoder, refinement: Some(true), ..SamPromptConfig::default() };
    let categories = [Category { id: 1, name: "object".to_owned() }];
    let backbone = Box::new(Counting { spec, images: images.clone() });
    let task = config.build(&vs.root(), backbone, &categories).unwrap();
    let target = |prompts| Target {
        image_id: ImageId::from(1),
        path: "a.png".into(),
        original_size: (64, 64),
        input_size: (64, 64),
        flipped: false,
        image_labels: Vec::new(),
        labels: Tensor::zeros([0], (Kind::Int64, Device::Cpu)),
        boxes: Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)),
        masks: Tensor::zeros([0, 64, 64], (Kind::Bool, Device::Cpu)),
        is_crowd: Tensor::zeros([0], (Kind::Bool, Device::Cpu)),
        objects: Vec::new(),
        prompts: Some(prompts),
    };
    let point = |i: i32| ObjectPrompt {
        points: vec![PointPrompt { x: f64::from(i % 64), y: 5.0, positive: true }],
        ..ObjectPrompt::default()
    };
    let many = ImagePrompts::Objects((0..200).map(point).collect());
    let batch = Batch {
        images: Tensor::zeros([2, 3, 64, 64], (Kind::Float, Device::Cpu)),
        features: None,
        targets: vec![target(many), target(ImagePrompts::Everything)],
        seed: 0,
    };
    let predictions = no_grad(|| task.predict(&batch)).unwrap();
    assert_eq!(predictions[0].instances.len(), 200);
    assert_eq!(images.load(Ordering::SeqCst), 2);
}
