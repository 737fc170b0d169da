//! DICOM files and clips through the program: trained on, checked, predicted.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sonotune_formats::{
    Pixels,
    video::Video,
    write::{DicomHead, dicom, mjpeg_avi},
};
use sonotune_testing::Tiny;

use crate::{
    prompts_support::{Place, Trained, list},
    support::{assert_fails, assert_success, json, read_json, sonotune, stdout},
};

/// A frame of 48×64 with a bright square; the first half of a clip has it at the left.
fn frame(index: u32) -> Pixels {
    let left = if index < 4 { 4 } else { 36 };
    let level = |i: u32| {
        let (y, x) = (i / 64, i % 64);
        let inside = (10..34).contains(&y) && (left..left + 20).contains(&x);
        if inside { 200 } else { (20 + index * 3 + (x * 7 + y * 5) % 11) as u8 }
    };
    Pixels { height: 48, width: 64, channels: 1, data: (0..48 * 64).map(level).collect() }
}

fn frames(count: u32) -> Vec<Pixels> {
    (0..count).map(frame).collect()
}

/// Cines of eight frames, annotated frame by frame, and a run of a tiny classifier on them.
fn trained(root: &Path, more: &str) -> String {
    let head = DicomHead { patient: "p1", spacing: Some([0.3, 0.3]) };
    for split in ["train", "val"] {
        dicom(&root.join(format!("{split}.dcm")), &frames(8), head).unwrap();
        let image = |i: u32| json!({ "id": i, "file_name": format!("{split}.dcm"), "frame": i, "height": 48, "width": 64 });
        let object = |i: u32| {
            let left = if i < 4 { 4 } else { 36 };
            json!({ "id": i, "image_id": i, "category_id": 1 + i / 4, "bbox": [left, 10, 20, 24],
                    "area": 480, "iscrowd": 0, "segmentation": [] })
        };
        let file = json!({
            "images": (0..8).map(image).collect::<Vec<_>>(),
            "annotations": (0..8).map(object).collect::<Vec<_>>(),
            "categories": [{ "id": 1, "name": "left" }, { "id": 2, "name": "right" }],
        });
        fs::write(root.join(format!("{split}.json")), file.to_string()).unwrap();
    }
    let config = Tiny::run(root)
        .data(root)
        .with("[dataset]\ntrain = \"train.json\"\nval = \"val.json\"")
        .task("type = \"classification\"")
        .with(more)
        .write();
    let config = config.display().to_string();
    assert_success(&sonotune(&["train", &config]));
    config
}

#[test]
fn a_classifier_of_dicom_frames_scores_clips() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let path = |name: &str| root.join(name).display().to_string();
    let config = trained(root, "");
    // Both splits have the same frames, and that is the only fault.
    let check = sonotune(&["data", "check", &config, "--json"]);
    let found: Value = serde_json::from_slice(&check.stdout).unwrap();
    let splits = list(&found, "splits").iter().flat_map(|split| list(split, "findings"));
    assert_eq!(found["num_images"], 16);
    assert!(splits.into_iter().all(|finding| finding["severity"] != "fault"), "{found}");
    let shared = list(&found, "across").iter().find(|f| f["code"] == "shared-image").unwrap();
    assert_eq!(shared["count"], 8);
    let image = shared["examples"][0]["image"].as_str().unwrap();
    assert!(image.ends_with("val.dcm#0"), "{image}");
    let stats = json(&sonotune(&["data", "stats", &config, "--json"]));
    assert_eq!(stats["splits"][0]["formats"], json!({ "DICOM": 8 }));

    fs::create_dir(root.join("new")).unwrap();
    mjpeg_avi(&root.join("new/clip.avi"), &frames(5), 95).unwrap();
    let head = DicomHead { patient: "p2", spacing: None };
    dicom(&root.join("new/IM0001"), &frames(1), head).unwrap();
    let (new, run) = (path("new"), path("run"));
    let predict = |out: &str, more: &[&str]| {
        let out = path(out);
        sonotune(&[&["predict", &new, "--run", &run, "--out", &out, "--json"], more].concat())
    };
    let record = json(&predict("out", &[]));
    assert_eq!(record["num_images"], 6, "{record}");
    let document = read_json(&root.join("out/predictions.json"));
    let images = list(&document, "images");
    let names: Vec<&str> = images.iter().map(|image| image["image"].as_str().unwrap()).collect();
    let expected = ["IM0001", "clip.avi#0", "clip.avi#1", "clip.avi#2", "clip.avi#3", "clip.avi#4"];
    assert_eq!(names, expected);
    assert_eq!((&images[3]["file_name"], &images[3]["frame"]), (&json!("clip.avi"), &json!(2)));
    let [clip] = list(&document, "clips") else { panic!("one clip: {document}") };
    assert_eq!(&record["clips"][0], clip);
    assert_eq!((&clip["file_name"], &clip["num_frames"]), (&json!("clip.avi"), &json!(5)));
    assert!(clip["rule"].as_str().unwrap().starts_with("mean of the sigmoid scores"));
    for name in ["left", "right"] {
        let score = |image: &Value| image["scores"][name].as_f64().unwrap();
        let mean = images[1..].iter().map(score).sum::<f64>() / 5.0;
        assert!((clip["scores"][name].as_f64().unwrap() - mean).abs() < 1e-12);
    }
    let overlay = Video::open(&root.join("out/pictures/clip.avi.avi")).unwrap();
    assert_eq!(overlay.num_frames(), 5);
    assert!(root.join("out/pictures/clip.avi_4.png").is_file());

    let record = json(&predict("some", &["--every-frame", "2", "--no-pictures"]));
    assert_eq!(record["num_images"], 4);
    let record = json(&predict("two", &["--frames", "2", "--no-pictures"]));
    assert_eq!((&record["num_images"], &record["clips"][0]["num_frames"]), (&json!(3), &json!(2)));
    // A damaged clip costs none of the others.
    fs::write(root.join("new/cut.avi"), &fs::read(root.join("new/clip.avi")).unwrap()[..900])
        .unwrap();
    assert_fails(
        &predict("cut", &["--no-pictures"]),
        3,
        &["1 image(s) have no prediction", "cut.avi"],
    );
}

#[test]
fn every_frame_has_an_embedding_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache").display().to_string();
    let more = format!(
        "augment.flip_probability = 0.0\nbackbone.freeze = \"all\"\n[embedding_cache]\ndir = {cache:?}"
    );
    let _config = trained(folder.path(), &more);
    // Both cines have the same frames: eight embeddings.
    let count = walk(Path::new(&cache));
    assert_eq!(count, 8);
}

fn walk(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

#[test]
fn the_spacing_of_a_dicom_file_gives_millimetres() {
    let place = Place::new();
    let head = DicomHead { patient: "p3", spacing: Some([0.5, 0.2]) };
    dicom(&place.folder.path().join("images/scan.dcm"), &frames(1), head).unwrap();
    let prompts = place.path("p.csv");
    fs::write(&prompts, "image,x0,y0,x1,y1\nscan.dcm,4,10,24,34\n").unwrap();
    assert_success(&place.predict("out", &["--prompts", &prompts, "--no-pictures"]));
    let document = place.json("out");
    assert_eq!(list(&document, "images")[0]["pixel_spacing"], json!([0.5, 0.2]));
    for object in list(&document, "annotations") {
        let (area, measures) = (object["area"].as_f64().unwrap(), &object["measures"]);
        assert!((measures["area_mm2"].as_f64().unwrap() - area * 0.1).abs() < 1e-6, "{object}");
    }
}

#[test]
fn prompts_name_frames() {
    let (place, trained) = (Place::new(), Trained::get());
    let clip = place.folder.path().join("images/clip.avi");
    mjpeg_avi(&clip, &frames(6), 95).unwrap();
    let file = |name: &str, text: &str| {
        fs::write(place.folder.path().join(name), text).unwrap();
        place.path(name)
    };
    let json_file = file(
        "p.json",
        r#"{"images": [{"file_name": "clip.avi", "frame": 4, "objects": [{"box": [36, 10, 56, 34]}]},
            {"file_name": "clip.avi", "frame": 1, "objects": [{"points": [[10, 20]]}]}]}"#,
    );
    let csv_file = file(
        "p.csv",
        "image,frame,x,y,x0,y0,x1,y1\nclip.avi,4,,,36,10,56,34\nclip.avi,1,10,20,,,,\n",
    );
    let named = |out: &str| -> Vec<(String, u64)> {
        let document = place.json(out);
        let name = |image: &Value| {
            let frame = image["frame"].as_u64().unwrap();
            (image["file_name"].as_str().unwrap().to_owned(), frame)
        };
        list(&document, "images").iter().map(name).collect()
    };
    let expected = [("clip.avi".to_owned(), 1), ("clip.avi".to_owned(), 4)];
    assert_success(&place.predict("json", &["--prompts", &json_file, "--no-pictures"]));
    assert_eq!(named("json"), expected);
    assert_success(&place.predict("csv", &["--prompts", &csv_file, "--no-pictures"]));
    assert_eq!(named("csv"), expected);
    assert_eq!(place.json("csv")["annotations"], place.json("json")["annotations"]);
    // The file is training data and asks about the same frames again.
    let again = place.path("json/predictions.json");
    assert_success(&place.predict("again", &["--annotations", &again, "--no-pictures"]));
    assert_eq!(named("again"), expected);
    let config = trained.config("frames.toml", &again, "");
    let images = format!("dataset.images={}", place.path("images"));
    let run = format!("run_dir={}", place.path("run"));
    assert_success(&sonotune(&["train", &config, &images, &run, "train.max_steps=1"]));

    // Answers are carried to all other frames, or until the masks are empty.
    let more = ["--prompts", &csv_file, "--carry"];
    assert_success(&place.predict("carried", &more));
    let document = place.json("carried");
    let of_clip: Vec<&Value> = list(&document, "images").iter().collect();
    let frames: Vec<u64> = of_clip.iter().map(|image| image["frame"].as_u64().unwrap()).collect();
    assert!(frames.is_sorted() && frames.contains(&1) && frames.contains(&4), "{frames:?}");
    assert!(frames.len() > 2, "{document}");
    for image in of_clip {
        let frame = image["frame"].as_u64().unwrap();
        let from = match frame {
            1 | 4 => None,
            0 | 2 => Some(1),
            5 => Some(4),
            // Forwards from 1, or, if its masks have become empty, backwards from 4.
            _ => Some(image["carried_from"].as_u64().unwrap()),
        };
        assert_eq!(image["carried_from"].as_u64(), from, "frame {frame}");
        if from.is_none() {
            continue;
        }
        // Each object is named, and its prompt was the box of the mask before.
        let own = list(&document, "annotations").iter().filter(|a| a["image_id"] == image["id"]);
        assert!(own.clone().all(|object| object["prompt"]["name"] == "1"));
    }
    let prompts = document["info"]["prompts"].as_str().unwrap();
    assert!(prompts.ends_with("carried to the other frames of their clips"), "{prompts}");
    assert!(place.folder.path().join("carried/pictures/clip.avi.avi").is_file());
    assert_fails(&place.predict("x", &["--everything", "--carry"]), 2, &["--carry needs prompts"]);

    for (text, parts) in [
        ("image,x,y\nclip.avi,1,1\n", ["line 2", "6 frames"]),
        ("image,frame,x,y\nclip.avi,6,1,1\n", ["line 2", "no frame 6"]),
        ("image,frame,x,y\na.png,2,1,1\n", ["line 2", "one image"]),
        ("image,frame,x,y\nclip.avi,one,1,1\n", ["line 2", "frame = \"one\""]),
    ] {
        let prompts = file("bad.csv", text);
        assert_fails(&place.predict("bad", &["--prompts", &prompts]), 3, &parts);
    }
    let printed = place.predict("x", &["--prompts", &json_file, "--frames", "2"]);
    assert_fails(&printed, 2, &["--every-frame", "--frames"]);
    let all = place.predict_images(
        &clip.display().to_string(),
        "all",
        &["--everything", "--no-pictures"],
    );
    assert!(stdout(&all).contains("6 image(s)"));
}
