//! `data stats`: the description of a dataset that the program prints.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::json;

use crate::support::{
    self, assert_contains, assert_fails, assert_success, phantoms, read_json, sonotune, stdout,
    write_config,
};

fn config(folder: &std::path::Path) -> String {
    write_config(folder, &phantoms().join("phantoms")).display().to_string()
}

#[test]
fn the_figures_are_those_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let report = support::json(&sonotune(&["data", "stats", &config(folder.path()), "--json"]));
    let train = &report["splits"][0];
    let root = phantoms().join("phantoms");
    let file = read_json(&root.join("annotations/train.json"));
    let images = file["images"].as_array().unwrap();
    let (mut sum, mut squares, mut patients) = (0u64, 0u64, BTreeMap::new());
    for image in images {
        let pixels =
            image::open(root.join(image["file_name"].as_str().unwrap())).unwrap().to_luma8();
        sum += pixels.iter().map(|&p| u64::from(p)).sum::<u64>();
        squares += pixels.iter().map(|&p| u64::from(p).pow(2)).sum::<u64>();
        patients.insert(image["patient"].to_string(), ());
    }
    let n = (images.len() * 64 * 64) as f64;
    let mean = sum as f64 / n;
    let sd = (squares as f64 / n - mean * mean).sqrt();
    for channel in 0..3 {
        assert!((train["pixel_mean"][channel].as_f64().unwrap() - mean).abs() < 1e-9);
        assert!((train["pixel_sd"][channel].as_f64().unwrap() - sd).abs() < 1e-9);
    }
    assert_eq!(train["num_patients"], json!(patients.len()));
    assert_eq!(train["formats"], json!({ "PNG": images.len() }));
    assert_eq!(train["depths"], json!({ "1 x 8 bit": images.len() }));
    let common = json!([{ "height": 64, "width": 64, "num_images": images.len() }]);
    assert_eq!(train["common_sizes"], common);
    let annotations = file["annotations"].as_array().unwrap();
    let areas: Vec<f64> = annotations.iter().map(|a| a["area"].as_f64().unwrap()).collect();
    let mean = areas.iter().sum::<f64>() / areas.len() as f64;
    assert!((train["areas"]["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
    let relative = train["relative_areas"]["mean"].as_f64().unwrap();
    assert!((relative - mean / 4096.0).abs() < 1e-12);
    assert_eq!(train["counts"]["num_objects"], json!(annotations.len()));
}

#[test]
fn pictures_are_written_whole_and_the_same_for_the_same_seed() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let out = folder.path().join("pictures");
    let args = ["data", "stats", &config, "--samples", "5", "--out", out.to_str().unwrap()];
    assert_contains(&stdout(&sonotune(&args)), &["objects per image"]);
    let read = || -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    let first = read();
    let has = |name: &str| first.contains_key(&out.join(name));
    for name in ["class_balance", "image_sizes", "object_sizes", "object_positions", "samples-val"]
    {
        assert!(has(&format!("{name}.png")), "{name} in {:?}", first.keys());
    }
    assert!(has("samples-train-0-cyst.png"), "{:?}", first.keys());
    for bytes in first.values() {
        image::load_from_memory(bytes).unwrap();
    }
    assert_fails(&sonotune(&args), 2, &["pictures exists and is not empty", "--overwrite"]);
    assert_success(&sonotune(&[&args[..], &["--overwrite"]].concat()));
    assert!(read() == first);
    assert_success(&sonotune(&[&args[..], &["--overwrite", "--seed", "1"]].concat()));
    let sheet = out.join("samples-train.png");
    assert!(read()[&sheet] != first[&sheet]);
}
