//! `sonotune predict` with a promptable model: which prompts it accepts and which it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::DynamicImage;
use serde_json::{Value, json};

use crate::{
    prompts_support::{Place, Trained, answers, list},
    support::{self, assert_contains, assert_fails, assert_success, sonotune, stdout},
};

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
    // The label map matches the file, except where another object is on top.
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

    // One file per object, then none.
    let objects = ["--prompts", &file, "--masks", "objects", "--overwrite"];
    assert_success(&place.predict("out", &objects));
    let single = place.mask(&format!("out/masks/a/{label}.png")).into_luma8();
    assert_eq!(single.iter().filter(|&&v| v == 255).count(), area);
    assert!(!Path::new(&place.path("out/masks/a.png")).exists());
    let none = ["--prompts", &file, "--masks", "none", "--no-pictures", "--overwrite"];
    let record = support::json(&place.predict("out", &[&none[..], &["--json"]].concat()));
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
    // Matrix products of other shapes round differently.
    assert!((score(&alone, 0) - score(&among, 40)).abs() < 1e-5);
    assert!((score(&among, 0) - score(&among, 40)).abs() > 1e-4);
}

#[test]
fn a_promptable_model_says_how_to_ask_and_takes_one_way_at_a_time() {
    let place = Place::new();
    let ways = ["--prompts FILE", "--annotations COCO.json", "--everything"];
    assert_fails(&place.predict("x", &[]), 2, &ways);
    let file = place.write("p.csv", "image,x,y\na.png,1,1\n");
    assert_fails(&place.predict("x", &["--prompts", &file, "--everything"]), 2, &["--everything"]);
    let protocol = place.predict("x", &["--everything", "--protocol", "box"]);
    assert_fails(&protocol, 2, &["--annotations"]);
    assert!(!Path::new(&place.path("x")).exists());
}

#[test]
fn a_task_without_prompts_refuses_them() {
    let (place, trained) = (Place::new(), Trained::get());
    let train = trained.data("annotations/train.json");
    let config = trained.config("classes.toml", &train, "");
    let text = fs::read_to_string(&config).unwrap();
    let task = text.find("[task]").unwrap();
    let end = text.find("[train]").unwrap();
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
    // A file that is not an image also has no prediction.
    fs::write(place.path("images/c.png"), "no image").unwrap();
    let file = place.write("p.csv", "image,x,y\na.png,1,1\nc.png,1,1\nsub/b.png,1,1\n");
    let output = place.predict("damaged", &["--prompts", &file, "--no-pictures"]);
    assert_fails(&output, 3, &["1 image(s) have no prediction", "c.png"]);
    assert_eq!(list(&place.json("damaged"), "images").len(), 2);
}

#[test]
fn a_box_partly_outside_is_cut_and_that_is_said() {
    let place = Place::new();
    let printed = stdout(&place.ask("outside", &json!([{"name": "n", "box": [-5, 3, 30, 99]}])));
    assert_contains(&printed, &["a.png", "[-5, 3, 30, 99]", "prompt 1 (\"n\")", "clipped"]);
    assert_success(&place.ask("inside", &json!([{"box": [0, 3, 30, 40]}])));
    assert_eq!(answers(&place.json("outside")), answers(&place.json("inside")));
    let notes = place.json("outside")["info"]["notes"].to_string();
    assert!(notes.contains("reaches beyond"), "{notes}");
    assert_eq!(place.json("inside")["info"]["notes"], json!([]));
}

#[test]
fn pages_that_are_not_used_and_bits_that_are_not_there_are_said() {
    let place = Place::new();
    let deep = image::ImageBuffer::from_fn(64, 64, |x, y| image::Luma([(x * y * 4) as u16 + 507]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::DynamicImage::from(deep).write_to(&mut bytes, image::ImageFormat::Tiff).unwrap();
    let mut bytes = bytes.into_inner();
    // The second page is the directory of the first.
    let at = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let link = at + 2 + 12 * usize::from(bytes[at]);
    let copy = bytes[at..link + 4].to_vec();
    let end = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[link..link + 4].copy_from_slice(&end);
    bytes.extend(copy);
    std::fs::write(place.path("images/a.png"), bytes).unwrap();
    let printed = stdout(&place.ask("out", &json!([{"box": [0, 3, 30, 40]}])));
    assert_contains(
        &printed,
        &[
            "1 file with several pages or frames, of which the first is used: a.png (2)",
            "no value of the 16-bit image exceeds 16383, as from a device of 14 bits",
        ],
    );
    let notes = place.json("out")["info"]["notes"].to_string();
    assert_contains(&notes, &["a.png (2)", "16383"]);
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

    // Images without prompts are left out, and listed.
    let printed = stdout(&ask(&csv("image,x,y\na.png,1,1\n"), "out"));
    assert!(printed.contains("1 image(s) without prompts left out:\n  sub/b.png"), "{printed}");
    assert_eq!(list(&place.json("out"), "images").len(), 1);
    assert_eq!(place.json("out")["info"]["without_prompts"], json!(["sub/b.png"]));
    let empty = json!({"images": [{"file_name": "a.png", "objects": []}]}).to_string();
    assert_fails(&ask(&place.write("e.json", &empty), "x"), 3, &["none of the images", "e.json"]);

    // A prompt with a category; and one without, for which none is invented.
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
    // Not even the table; the other verbs need it.
    let mut table: toml::Table = fs::read_to_string(&config).unwrap().parse().unwrap();
    table.remove("dataset");
    fs::write(&config, table.to_string()).unwrap();
    assert_success(&sonotune(&[&predict[..], &["--overwrite"]].concat()));
    assert_eq!(answers(&document), answers(&place.json("out")));
    let missing = ["pretrained.toml: missing table `[dataset]`"];
    assert_fails(&sonotune(&["eval", "--config", &config]), 2, &missing);
    assert_fails(&sonotune(&["train", &config]), 2, &missing);
    assert_fails(&sonotune(&["data", "check", &config]), 2, &missing);
    // The same weights, the same answers.
    assert_success(&place.ask("run", &json!([{"points": [[9, 9]]}, {"points": [[9, 9]]}])));
    assert_eq!(answers(&document), answers(&place.json("run")));
}
