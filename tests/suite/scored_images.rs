//! Which images of a split are scored: all, unless the config explicitly says otherwise.

use crate::support::{
    PROMPTS, assert_contains, assert_fails, assert_success, json as json_of, phantoms, read_json,
    sonotune, stdout, tiny_run,
};

#[test]
fn images_are_left_out_only_by_name_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    // The first image loses its objects.
    let mut json = read_json(&phantoms().join("phantoms/annotations/val.json"));
    let first = json["annotations"][0]["image_id"].clone();
    let annotations = json["annotations"].as_array_mut().unwrap();
    annotations.retain(|annotation| annotation["image_id"] != first);
    let with_objects: std::collections::HashSet<String> =
        annotations.iter().map(|annotation| annotation["image_id"].to_string()).collect();
    let all = json["images"].as_array().unwrap().len();
    assert!(with_objects.len() < all);
    let file = folder.path().join("val.json");
    std::fs::write(&file, json.to_string()).unwrap();
    let val = format!("dataset.val={:?}", file.display().to_string());

    assert_success(&tiny_run(folder.path(), PROMPTS, &[&val, "evaluation.filter_empty_gt=true"]));
    let run = folder.path().join("run");
    let left_out =
        format!("of {all} images not scored: {} without objects", all - with_objects.len());
    let log = std::fs::read_to_string(run.join("train.log")).unwrap();
    assert!(log.contains(&left_out), "{log}");

    let run = run.display().to_string();
    let eval = |more: &[&str]| {
        let fixed = ["eval", "--run", &run, "--split", "val"];
        sonotune(&[&fixed, more].concat())
    };
    let scored = |more: &[&str]| json_of(&eval(&[more, &["--json"]].concat()));
    let filtered = scored(&["evaluation.min_size=16"]);
    assert_eq!(filtered["num_images"], with_objects.len());
    let note = filtered["dataset_notes"].to_string();
    assert!(note.contains(&left_out) && note.contains("0 with a side below 16"), "{note}");
    assert!(filtered["report"]["conditions"].to_string().contains(&left_out));
    let honest = scored(&["evaluation.filter_empty_gt=false"]);
    assert_eq!(honest["num_images"], all);
    assert_eq!(honest["dataset_notes"].as_array().map(Vec::len), Some(0));
    assert_contains(&stdout(&eval(&[])), &[&left_out]);
    let none = eval(&["evaluation.min_size=65"]);
    assert_fails(&none, 2, &["no image is left", "evaluation.min_size"]);
}
