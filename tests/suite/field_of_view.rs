//! `preprocess.crop = "field_of_view"`: pictures of a screen give what the same pictures give that were cut by hand.

use std::{fs, path::Path, process::Output};

use image::GrayImage;
use serde_json::{Value, json};
use sonotune_base::Rle;
use sonotune_formats::{
    Pixels,
    write::{DicomHead, dicom},
};
use sonotune_testing::{Tiny, assert_contains};
use tempfile::TempDir;

use crate::{
    prompts_support::list,
    support::{assert_fails, assert_success, json as printed, last, metrics, read_json, sonotune},
};

/// The ultrasound on the screen; with a cell of four pixels at each side it is what is found.
const TISSUE: [u32; 4] = [32, 24, 64, 64];
const FOUND: [u32; 4] = [28, 20, 72, 72];
const CROP: &str = "preprocess.crop=field_of_view";
const SCREEN: (u32, u32) = (128, 160);

/// A screen with text above and below, and in the tissue a bright lesion.
fn level(index: u32, (x, y): (u32, u32)) -> u8 {
    let inside = |[left, top, width, height]: [u32; 4]| {
        (left..left + width).contains(&x) && (top..top + height).contains(&y)
    };
    let is_text = ((2..14).contains(&y) || (108..124).contains(&y)) && x % 8 == 0;
    match () {
        () if inside(lesion(index)) => 210,
        () if inside(TISSUE) => (60 + (x * 7 + y * 5 + index * 11) % 50) as u8,
        () if is_text => 240,
        () => 0,
    }
}

fn lesion(index: u32) -> [u32; 4] {
    [44 + 6 * (index % 5), 40 + 4 * (index % 3), 22, 18]
}

fn picture(index: u32, [left, top, width, height]: [u32; 4]) -> Pixels {
    let data = (top..top + height)
        .flat_map(|y| (left..left + width).map(move |x| level(index, (x, y))))
        .collect();
    Pixels { height, width, channels: 1, data }
}

/// Screens in `whole`, what is found of them in `cut`, each with annotations, a run of one step and prompts.
struct Place(TempDir);

const SIDES: [(&str, [u32; 4]); 2] = [("whole", [0, 0, SCREEN.1, SCREEN.0]), ("cut", FOUND)];

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, rect) in SIDES {
            place.write(name, rect);
        }
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, rect: [u32; 4]) {
        let root = self.0.path().join(name);
        fs::create_dir_all(root.join("images")).unwrap();
        let [left, top, width, height] = rect;
        for index in 0..4 {
            let grey = GrayImage::from_raw(width, height, picture(index, rect).data).unwrap();
            grey.save(root.join(format!("images/{index}.png"))).unwrap();
        }
        let corners = |index: u32| {
            let [x, y, w, h] = lesion(index);
            [x - left, y - top, x - left + w, y - top + h]
        };
        let image = |i: u32| json!({ "id": i, "file_name": format!("images/{i}.png"), "height": height, "width": width });
        let object = |i: u32| {
            let [x0, y0, x1, y1] = corners(i);
            json!({ "id": i, "image_id": i, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0), "iscrowd": 0,
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]] })
        };
        let file = json!({
            "images": (0..4).map(image).collect::<Vec<_>>(),
            "annotations": (0..4).map(object).collect::<Vec<_>>(),
            "categories": [{ "id": 1, "name": "lesion" }],
        });
        fs::write(root.join("all.json"), file.to_string()).unwrap();
        let prompts = |i: u32| {
            let [x0, y0, x1, y1] = corners(i);
            json!({ "file_name": format!("{i}.png"), "objects": [
                { "box": [x0, y0, x1, y1] }, { "points": [[x0 + 5, y0 + 6]] }] })
        };
        let prompts = json!({ "images": (0..4).map(prompts).collect::<Vec<_>>() });
        fs::write(root.join("prompts.json"), prompts.to_string()).unwrap();
        let tiny = Tiny::run(&root)
            .data(&root)
            .with("[dataset]\ntrain = \"all.json\"\nval = \"all.json\"\ntest = \"all.json\"")
            .with("logging.num_images = 0\nloader.num_workers = 1\naugment.flip_probability = 0.0")
            .task(
                "type = \"sam_prompt\"\ndecoder = { num_heads = 2, mlp_dim = 32 }\n\
                 evaluation = { protocols = [\"box\", \"center_point\"], multimask = \"ambiguous\" }",
            )
            .steps(30)
            .with("optimizer.lr = 5e-3");
        assert!(tiny.write().is_file());
    }

    /// Trains on `whole` with the key or on `cut` without, into the run `run` of that folder.
    fn train(&self, name: &str, run: &str, more: &[&str]) {
        let (config, run) =
            (self.path(&format!("{name}/config.toml")), self.path(&format!("{name}/{run}")));
        let key = if name == "whole" { CROP } else { "preprocess.crop=none" };
        let run_dir = format!("run_dir={run}");
        let all = [&["train", &config, &run_dir, key], more].concat();
        assert_success(&sonotune(&all));
    }

    fn predict(&self, name: &str, images: &str, out: &str, more: &[&str]) -> Output {
        let (run, out) = (self.path(&format!("{name}/run")), self.path(&format!("{name}/{out}")));
        let images = self.path(&format!("{name}/{images}"));
        sonotune(&[&["predict", &images, "--run", &run, "--out", &out], more].concat())
    }

    fn predictions(&self, name: &str, out: &str) -> Value {
        read_json(&self.0.path().join(name).join(out).join("predictions.json"))
    }

    /// That the predictions for screens are those for what was cut out of them, moved.
    fn assert_moved(&self, out: &str) {
        let (whole, cut) = (self.predictions("whole", out), self.predictions("cut", out));
        let sizes = |document: &Value| -> Vec<(Value, Value)> {
            let images = list(document, "images").iter();
            images.map(|i| (i["height"].clone(), i["width"].clone())).collect()
        };
        assert!(sizes(&whole).iter().all(|size| *size == (json!(128), json!(160))));
        assert!(sizes(&cut).iter().all(|size| *size == (json!(72), json!(72))));
        let (whole, cut) = (list(&whole, "annotations"), list(&cut, "annotations"));
        assert_eq!(whole.len(), cut.len());
        let mut pixels = 0;
        for (whole, cut) in whole.iter().zip(cut) {
            for key in ["image_id", "score", "area", "prompt", "label"] {
                assert_eq!(whole[key], cut[key], "{key}");
            }
            let (mask, part) = (mask(whole), mask(cut));
            assert_eq!((mask.height, mask.width), SCREEN);
            pixels += part.area();
            let [left, top, width, height] = FOUND.map(|n| n as usize);
            assert_eq!(mask.to_mask_part(top..top + height, left..left + width), part.to_mask());
            // Nothing is outside.
            assert_eq!(mask.area(), part.area());
            if part.area() > 0 {
                let bbox = |a: &Value, i: usize| a["bbox"][i].as_f64().unwrap();
                let moved = [bbox(cut, 0) + 28.0, bbox(cut, 1) + 20.0, bbox(cut, 2), bbox(cut, 3)];
                for (i, expected) in moved.into_iter().enumerate() {
                    assert!((bbox(whole, i) - expected).abs() < 1e-9, "{whole}");
                }
            }
        }
        assert!(pixels > 0, "all masks are empty");
    }
}

fn mask(annotation: &Value) -> Rle {
    let segmentation = &annotation["segmentation"];
    let side = |i: usize| segmentation["size"][i].as_u64().unwrap() as u32;
    Rle::from_compressed(side(0), side(1), segmentation["counts"].as_str().unwrap()).unwrap()
}

#[test]
fn screens_are_trained_scored_and_predicted_as_what_is_cut_out_of_them() {
    let place = Place::new();
    for (name, _) in SIDES {
        place.train(name, "run", &[]);
    }
    let run = |name: &str| place.0.path().join(name).join("run");
    assert_eq!(metrics(&run("whole")), metrics(&run("cut")));
    assert!(last(&run("whole")).len() > 1000);
    let eval = |name: &str| {
        let run = place.path(&format!("{name}/run"));
        let two = ["--processes", "2", "evaluation.batch_size=2"];
        let eval = ["eval", "--run", &run, "--split", "test", "--json"];
        printed(&sonotune(&[&eval[..], &two].concat()))
    };
    let (whole, cut) = (eval("whole"), eval("cut"));
    assert_eq!(whole["report"]["metrics"], cut["report"]["metrics"], "{whole}");
    assert!(!whole["report"]["metrics"].is_null(), "{whole}");
    assert_contains(&whole.to_string(), &["only the ultrasound region is seen and scored"]);
    assert!(!cut.to_string().contains("ultrasound region"), "{cut}");

    for (name, _) in SIDES {
        let prompts = place.path(&format!("{name}/prompts.json"));
        let more = ["--prompts", prompts.as_str(), "--no-pictures"];
        assert_success(&place.predict(name, "images", "out", &more));
        let two = [&more[..], &["--processes", "2", "evaluation.batch_size=2"]].concat();
        assert_success(&place.predict(name, "images", "two", &two));
    }
    place.assert_moved("out");
    // One batch comes from the other process.
    place.assert_moved("two");
    let info = place.predictions("whole", "out")["info"].to_string();
    assert_contains(&info, &["ultrasound region"]);
    let labels = image::open(place.path("whole/out/masks/0.png")).unwrap().into_luma8();
    assert_eq!(labels.dimensions(), (160, 128));
    let [left, top, width, height] = FOUND;
    let inside =
        |x: u32, y: u32| (left..left + width).contains(&x) && (top..top + height).contains(&y);
    let painted: Vec<_> =
        labels.enumerate_pixels().filter(|(_, _, label)| label.0[0] > 0).collect();
    assert!(painted.iter().all(|(x, y, _)| inside(*x, *y)) && !painted.is_empty());
    refused(&place);
    carried(&place);
}

/// Prompts that point beside the ultrasound.
fn refused(place: &Place) {
    for (object, what) in [
        (json!({ "points": [[10, 5]] }), "point (10, 5) lies outside the field of view"),
        (json!({ "box": [0, 0, 20, 19] }), "box [0, 0, 20, 19] lies outside the field of view"),
    ] {
        let prompts = json!({ "images": [
            { "file_name": "0.png", "objects": [{ "points": [[60, 50]] }, object] },
            { "file_name": "1.png", "objects": [{ "points": [[60, 50]] }] },
        ] });
        let file = place.path("refused.json");
        fs::write(&file, prompts.to_string()).unwrap();
        let more = ["--prompts", file.as_str(), "--no-pictures", "--overwrite"];
        let output = place.predict("whole", "images", "refused", &more);
        let parts = ["0.png", "prompt 2", what, "[28, 20, 100, 92]", "preprocess.crop = \"none\""];
        assert_fails(&output, 3, &parts);
        assert_eq!(list(&place.predictions("whole", "refused"), "images").len(), 1);
    }
    let prompts = json!({ "images": [
        { "file_name": "0.png", "objects": [{ "box": [5, 30, 70, 60] }] }] });
    let file = place.path("clipped.json");
    fs::write(&file, prompts.to_string()).unwrap();
    assert_success(&place.predict("whole", "images", "clipped", &["--prompts", &file]));
    let notes = place.predictions("whole", "clipped")["info"]["notes"].to_string();
    assert_contains(
        &notes,
        &["[5, 30, 70, 60]", "the field of view [28, 20, 100, 92] and was clipped"],
    );
    // Pictures show what was kept.
    let shown = image::open(place.path("whole/clipped/pictures/0.png")).unwrap();
    assert_eq!(shown.width(), shown.height());
}

/// Through the frames of a cine.
fn carried(place: &Place) {
    let head = DicomHead { patient: "p1", spacing: None };
    for (name, rect) in SIDES {
        let root = place.0.path().join(name);
        let frames: Vec<Pixels> = (0..3).map(|index| picture(index, rect)).collect();
        dicom(&root.join("cine.dcm"), &frames, head).unwrap();
        let [x, y, width, height] = lesion(1);
        let (x, y) = (x - rect[0], y - rect[1]);
        let prompts = json!({ "images": [{ "file_name": "cine.dcm", "frame": 1,
            "objects": [{ "box": [x, y, x + width, y + height] }] }] });
        let file = root.join("cine.json").display().to_string();
        fs::write(&file, prompts.to_string()).unwrap();
        let more = ["--prompts", &file, "--carry", "--no-pictures"];
        assert_success(&place.predict(name, "cine.dcm", "carried", &more));
    }
    place.assert_moved("carried");
    assert_eq!(list(&place.predictions("whole", "carried"), "images").len(), 3);
}

#[test]
fn embeddings_of_the_field_of_view_lead_to_the_same_run() {
    let place = Place::new();
    let cache = format!("embedding_cache={{dir={:?}}}", place.path("cache"));
    let frozen = ["backbone.freeze=all", "train.max_steps=3"];
    let files = || walk(Path::new(&place.path("cache")));
    place.train("whole", "run", &frozen);
    let more = [&frozen[..], &[cache.as_str()]].concat();
    place.train("whole", "cached", &more);
    let run = |name: &str| place.0.path().join("whole").join(name);
    assert!(last(&run("run")) == last(&run("cached")));
    assert_eq!(metrics(&run("run")), metrics(&run("cached")));
    assert_eq!(files(), 4);
    // From the files alone.
    place.train("whole", "again", &more);
    assert!(last(&run("run")) == last(&run("again")));
    assert_eq!(files(), 4);
    // Whole screens have embeddings of their own.
    let whole = [&more[..], &["preprocess.crop=none"]].concat();
    place.train("whole", "uncut", &whole);
    assert_eq!(files(), 8);
    assert!(last(&run("run")) != last(&run("uncut")));
}

fn walk(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}
