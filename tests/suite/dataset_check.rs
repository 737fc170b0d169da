//! Looking a dataset over before training.

use engine::{
    data::{
        DatasetConfig,
        check::{DatasetCheck, Finding, check},
        image_io::DecodeOptions,
    },
    serde_json::{self, json},
};

const DECODE: DecodeOptions = DecodeOptions { exif: false, max_pixels: 1 << 20 };

/// Five images: sound, sound, of another size, no image at all, absent.
fn checked(decode: bool) -> DatasetCheck {
    let dir = tempfile::tempdir().unwrap();
    let save = |name: &str, width, height| {
        image::GrayImage::new(width, height).save(dir.path().join(name)).unwrap();
    };
    save("sound.png", 6, 5);
    save("odd.png", 6, 5);
    save("turned.png", 5, 6);
    std::fs::write(dir.path().join("text.png"), "no image").unwrap();
    let images: Vec<_> = ["sound.png", "odd.png", "turned.png", "text.png", "absent.png"]
        .iter()
        .enumerate()
        .map(|(id, name)| json!({ "id": id, "file_name": name, "height": 5, "width": 6 }))
        .collect();
    let object = |image: u32, bbox: [f64; 4], segmentation: serde_json::Value| {
        json!({ "image_id": image, "category_id": 1, "area": 4, "bbox": bbox,
                "segmentation": segmentation })
    };
    let annotations = [
        object(0, [1.0, 1.0, 3.0, 2.0], json!([[1, 1, 4, 1, 4, 3, 1, 3]])),
        object(1, [3.0, 1.0, 9.0, 2.0], json!(null)),
        object(1, [2.0, 2.0, 0.0, 2.0], json!(null)),
        object(1, [0.0, 3.0, 2.0, 2.0], json!([[3, 0, 6, 0, 6, 2, 3, 2]])),
    ];
    let file = |images: &[serde_json::Value], annotations: &[serde_json::Value]| {
        let categories = json!([{ "id": 1, "name": "benign" }, { "id": 2, "name": "cyst" }]);
        json!({ "images": images, "annotations": annotations, "categories": categories })
            .to_string()
    };
    std::fs::write(dir.path().join("train.json"), file(&images, &annotations)).unwrap();
    std::fs::write(dir.path().join("val.json"), file(&images[..1], &[])).unwrap();
    let table = json!({ "type": "coco", "root": dir.path(), "train": "train.json",
                        "val": "val.json", "check_files": "none" });
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
    check(&*config, decode.then_some(DECODE), &|| ()).unwrap()
}

fn counts(findings: &[Finding]) -> Vec<(usize, &str)> {
    findings.iter().map(|f| (f.count, f.what.as_str())).collect()
}

#[test]
fn faults_and_doubts_are_counted_with_an_example() {
    let found = checked(true);
    assert_eq!(found.num_faults(), 3);
    let [train, val] = &found.splits[..] else { panic!("two splits") };
    assert_eq!(counts(&train.faults), [(3, "image cannot be used")]);
    let first = &train.faults[0].first;
    assert!(first.contains("turned.png") && first.contains("5x6"), "{first}");
    assert_eq!(
        counts(&train.doubts),
        [
            (1, "box beyond its image"),
            (1, "box smaller than a pixel"),
            // The box that ends outside is larger than its mask by more than half.
            (2, "box that is not that of its mask"),
            (1, "category without an object or image"),
            (1, "mask without a pixel"),
        ]
    );
    assert!(train.doubts[0].first.contains("odd.png, its object 0"), "{:?}", train.doubts[0]);
    assert_eq!(train.statistics.images_without_objects, 3);
    assert!(val.faults.is_empty());
    assert_eq!(counts(&found.shared_images), [(1, "image of train also in val")]);
}

#[test]
fn a_quick_look_is_for_presence_alone() {
    let found = checked(false);
    assert_eq!(found.num_faults(), 1);
    let first = &found.splits[0].faults[0].first;
    assert!(first.contains("id 4") && first.contains("absent.png"), "{first}");
}
