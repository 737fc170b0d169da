//! Ten thousand images.

use std::time::{Duration, Instant};

use serde_json::json;
use sonotune_annotate::Options;

use crate::support::{Client, Folder, object, write_image};

/// In a build without optimisation, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn ten_thousand_images_open_soon_and_are_not_looked_into() {
    let folder = Folder::new(0);
    for i in 0..100 {
        std::fs::create_dir(folder.at(&format!("{i:02}"))).unwrap();
    }
    let first = folder.at("00/0000.png");
    write_image(&first);
    for i in 1..10_000 {
        // Not an image at all: reading it would be an error.
        std::fs::write(folder.at(&format!("{:02}/{i:04}.png", i / 100)), b"").unwrap();
    }
    let entries = (0..9_000).map(|i| {
        json!({ "id": i + 1, "file_name": format!("{:02}/{i:04}.png", i / 100), "height": 12, "width": 16 })
    });
    let annotations = (0..18_000).map(|i| {
        json!({ "id": i + 1, "image_id": i / 2 + 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0,
            "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]] })
    });
    let file = json!({ "images": entries.collect::<Vec<_>>(), "annotations": annotations.collect::<Vec<_>>(),
        "categories": [{ "id": 1, "name": "cyst" }] });
    std::fs::write(folder.at("annotations.json"), file.to_string()).unwrap();
    let start = Instant::now();
    let client =
        Client::start(&Options { images: folder.path().to_owned(), ..Options::default() }, None);
    let (_, session) = client.get("/api/session");
    let opened = start.elapsed();
    let images = session["images"].as_array().unwrap();
    assert_eq!(
        (images.len(), &images[8_999]["objects"], &images[9_999]["status"]),
        (10_000, &json!(2), &json!("untouched"))
    );
    let start = Instant::now();
    let revision = client.save(1, 0, "done", &[object("x", [1, 1, 5, 5])]);
    let saved = start.elapsed();
    assert_eq!(revision, 1);
    println!("opened in {opened:?}, saved in {saved:?}");
    assert!(opened < SOON && saved < SOON, "opened in {opened:?}, saved in {saved:?}");
}
