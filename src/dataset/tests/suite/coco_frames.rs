//! COCO entries that are frames of clips.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sonotune_dataset::{Dataset, DatasetConfig, Split, findings::Code};
use sonotune_formats::{
    Pixels,
    write::{DicomHead, dicom, mjpeg_avi},
};

/// A folder with a clip of three frames, a cine of two and a single DICOM image, and `train.json` with `images`.
fn set(images: &Value) -> (tempfile::TempDir, Box<dyn DatasetConfig>) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let frame = Pixels { height: 16, width: 24, channels: 1, data: vec![50; 16 * 24] };
    mjpeg_avi(&at("clip.avi"), &vec![frame.clone(); 3], 95).unwrap();
    let head = DicomHead { patient: "p", spacing: None };
    dicom(&at("cine.dcm"), &vec![frame.clone(); 2], head).unwrap();
    dicom(&at("one"), &[frame], head).unwrap();
    let file =
        json!({ "images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}] });
    std::fs::write(at("train.json"), file.to_string()).unwrap();
    let config = json!({ "type": "coco", "root": folder.path(), "train": "train.json" });
    let config = serde_json::from_value(config).unwrap();
    (folder, config)
}

fn names(dataset: &Dataset, folder: &Path) -> Vec<PathBuf> {
    let name = |path: PathBuf| path.strip_prefix(folder).unwrap().to_owned();
    dataset.records.iter().map(|record| name(record.name())).collect()
}

#[test]
fn an_entry_is_the_frame_that_it_names() {
    let (folder, config) = set(&json!([
        { "id": 1, "file_name": "clip.avi", "frame": 2, "height": 16, "width": 24 },
        { "id": 2, "file_name": "clip.avi", "frame": "0" },
        { "id": 3, "file_name": "cine.dcm", "frame": 1 },
        { "id": 4, "file_name": "one" },
        { "id": 5, "file_name": "one", "frame": 0 },
    ]));
    let dataset = config.open(Split::Train).unwrap();
    let expected = ["clip.avi#2", "clip.avi#0", "cine.dcm#1", "one", "one"].map(PathBuf::from);
    assert_eq!(names(&dataset, folder.path()), expected);
    let audit = config.audit(Split::Train);
    assert_eq!(names(&audit.dataset(), folder.path()), expected);
    let findings = audit.findings.sorted();
    let of_frames = [Code::DuplicateFile, Code::NoSuchFrame];
    assert!(findings.iter().all(|f| !of_frames.contains(&f.code)), "{findings:?}");
}

#[test]
fn where_an_ordinary_image_comes_from_is_not_read() {
    let (folder, config) = set(&json!([
        { "id": 1, "file_name": "a.png", "frame": 400 },
        { "id": 2, "file_name": "b.png", "frame": "ES" },
    ]));
    for name in ["a.png", "b.png"] {
        std::fs::write(folder.path().join(name), b"").unwrap();
    }
    let dataset = config.open(Split::Train).unwrap();
    assert_eq!(names(&dataset, folder.path()), ["a.png", "b.png"].map(PathBuf::from));
    assert!(
        config.audit(Split::Train).findings.sorted().iter().all(|f| f.code != Code::NoSuchFrame)
    );
}

#[test]
fn a_frame_that_is_missing_or_not_there_is_an_error_that_names_the_entry() {
    for (entry, parts) in [
        (json!({ "file_name": "clip.avi" }), ["clip.avi", "3 frames"]),
        (json!({ "file_name": "clip.avi", "frame": 3 }), ["`frame` is 3", "3 frames"]),
        (json!({ "file_name": "cine.dcm", "frame": null }), ["cine.dcm", "2 frames"]),
        (json!({ "file_name": "cine.dcm", "frame": -1 }), ["`frame` is -1", "2 frames"]),
        (json!({ "file_name": "one", "frame": 1 }), ["`frame` is 1", "1 frame"]),
    ] {
        let mut entry = entry;
        entry["id"] = json!(7);
        let (_folder, config) =
            set(&json!([{ "id": 6, "file_name": "clip.avi", "frame": 0 }, entry]));
        let error = format!("{:#}", config.open(Split::Train).unwrap_err());
        let named = ["train.json", "images[1] (id 7)"];
        assert!(named.iter().chain(&parts).all(|part| error.contains(part)), "{error}");
        let findings = config.audit(Split::Train).findings.sorted();
        let found = findings.iter().find(|finding| finding.code == Code::NoSuchFrame).unwrap();
        let example = &found.examples[0];
        assert_eq!(example.place.entry.as_deref(), Some("images[1]"));
        assert!(example.got.contains(parts[1]), "{}", example.got);
    }
}
