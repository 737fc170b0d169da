//! `sonotune data check` as a user calls it.

use std::fs;

use serde_json::{Value, json};
use sonotune_testing::Tiny;

use crate::{
    defects_support::noise,
    support::{assert_contains, assert_fails, sonotune, stdout},
};

#[test]
fn the_text_names_place_and_remedy_and_the_exit_code_tells() {
    let dir = tempfile::tempdir().unwrap();
    noise(1000).save(dir.path().join("a.png")).unwrap();
    noise(2000).save(dir.path().join("b.png")).unwrap();
    let image =
        |id: u32, name: &str| json!({ "id": id, "file_name": name, "height": 64, "width": 64 });
    let object = |id: u32, image: u32, bbox: Value| {
        json!({ "id": id, "image_id": image,
        "category_id": 1, "bbox": bbox, "area": 100, "segmentation": [] })
    };
    let write = |annotations: Value| {
        let file = json!({ "images": [image(1, "a.png"), image(2, "b.png")],
            "annotations": annotations, "categories": [{ "id": 1, "name": "cyst" }] });
        fs::write(dir.path().join("train.json"), file.to_string()).unwrap();
    };
    let root = dir.path().display();
    let tiny = Tiny::run(dir.path()).without("dataset").task("type = \"classification\"");
    let table = format!("[dataset]\ntype = \"coco\"\nroot = \"{root}\"\ntrain = \"train.json\"");
    let config = tiny.with(&table).write().display().to_string();
    write(json!([object(5, 1, json!([50, 10, 20, 10])), object(6, 2, json!([3, 3, 10, 10]))]));
    let text = stdout(&sonotune(&["data", "check", &config]));
    let line = format!(
        "    {root}/a.png (image id 1, annotations[0], annotation id 5, \"cyst\"): expected within \
         64x64 (height x width), got box [50, 10, 20, 10], which ends at (70, 20)\n"
    );
    let said = [
        "  doubt box-beyond-frame (1): a box reaches beyond its image\n",
        &line,
        "    -> check that it is [x, y, width, height]",
    ];
    assert_contains(&text, &said);
    let strict = sonotune(&["data", "check", &config, "--strict"]);
    assert_fails(&strict, 3, &["0 faults and 1 doubt in 2 images", "--strict"]);
    write(json!([object(5, 1, json!([3, 3, -1, 10])), object(6, 3, json!([3, 3, 10, 10]))]));
    assert_fails(&sonotune(&["data", "check", &config]), 3, &["2 faults"]);
    assert_fails(&sonotune(&["data", "check", &config, "--distance", "11"]), 2, &["0 to 10"]);
}
