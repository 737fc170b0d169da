//! `sonotune data check` as a user calls it.

use std::{fs, path::Path};

use serde_json::{self, Value, json};

use crate::support::{TINY_MODEL, assert_fails, sonotune};

/// An image that differs from those of all other seeds.
fn save(path: &Path, seed: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = image::GrayImage::from_fn(40, 40, |x, y| {
        let hash = (x / 5 * 31 + y / 5 * 17 + 1009 * seed).wrapping_mul(2_654_435_761);
        image::Luma([(hash >> 24) as u8])
    });
    image.save(path).unwrap();
}

#[test]
fn the_text_names_place_and_remedy_and_the_exit_code_tells() {
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("a.png"), 1);
    save(&dir.path().join("b.png"), 2);
    let image =
        |id: u32, name: &str| json!({ "id": id, "file_name": name, "height": 40, "width": 40 });
    let object = |id: u32, image: u32, bbox: Value| {
        json!({ "id": id, "image_id": image,
        "category_id": 1, "bbox": bbox, "area": 100, "segmentation": [] })
    };
    let write = |annotations: Value| {
        let file = json!({ "images": [image(1, "a.png"), image(2, "b.png")],
            "annotations": annotations, "categories": [{ "id": 1, "name": "cyst" }] });
        fs::write(dir.path().join("train.json"), file.to_string()).unwrap();
    };
    let config = dir.path().join("config.toml");
    let root = dir.path().display();
    let text = format!(
        "run_dir = \"run\"\n[dataset]\ntype = \"coco\"\nroot = \"{root}\"\n\
         train = \"train.json\"\n{TINY_MODEL}"
    );
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    write(json!([object(5, 1, json!([30, 10, 20, 10])), object(6, 2, json!([3, 3, 10, 10]))]));
    let output = sonotune(&["data", "check", &config]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{text}");
    let line = format!(
        "    {root}/a.png (image id 1, annotations[0], annotation id 5, \"cyst\"): expected within \
         40x40 (height x width), got box [30, 10, 20, 10], which ends at (50, 20)\n"
    );
    assert!(
        text.contains("  doubt box-beyond-frame (1): a box reaches beyond its image\n"),
        "{text}"
    );
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("    -> check that it is [x, y, width, height]"), "{text}");
    let strict = sonotune(&["data", "check", &config, "--strict"]);
    assert_fails(&strict, 3, &["0 faults and 1 doubt in 2 images", "--strict"]);
    write(json!([object(5, 1, json!([3, 3, -1, 10])), object(6, 3, json!([3, 3, 10, 10]))]));
    assert_fails(&sonotune(&["data", "check", &config]), 3, &["2 faults"]);
    assert_fails(&sonotune(&["data", "check", &config, "--distance", "11"]), 2, &["0 to 10"]);
}
