//! A copy of phantoms to plant defects in, and where a report finds them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use image::{GrayImage, ImageEncoder, ImageFormat, Luma};
use serde_json::{self, Value, json};
use tempfile::TempDir;

use crate::support::{assert_success, copy_phantoms, read_json, sonotune};

/// 80 phantoms of 64²: every class in every split, and an image for each defect.
pub(crate) fn clean() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("set").display().to_string();
        let args = ["data", "phantom", &out, "--num-images", "80", "--image-size", "64"];
        assert_success(&sonotune(&args));
        folder
    });
    folder.path()
}

/// Where a defect must be reported: split, code, file (of the image, else of the annotations), and
/// annotation id, else category, else nothing.
pub(crate) type Spot = (String, String, String, String);

/// A copy of the phantoms, to plant defects in.
pub(crate) struct Set {
    pub(crate) folder: TempDir,
    pub(crate) files: BTreeMap<&'static str, Value>,
    /// Images of each split that no defect has used.
    pub(crate) untouched: BTreeMap<&'static str, usize>,
    /// Images of each split before defects added some.
    originals: BTreeMap<&'static str, usize>,
    next_id: u64,
}

impl Set {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_phantoms(&clean().join("set"), &folder.path().join("set"));
        let read = |split| read_json(&clean().join(format!("set/annotations/{split}.json")));
        let files: BTreeMap<_, Value> =
            ["train", "val", "test"].map(|split| (split, read(split))).into();
        let count = |file: &Value| file["images"].as_array().unwrap().len();
        Self {
            originals: files.iter().map(|(split, file)| (*split, count(file))).collect(),
            files,
            untouched: ["train", "val", "test"].map(|split| (split, 0)).into(),
            next_id: 100_000,
            folder,
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("set")
    }

    /// The position of an image that no other defect uses.
    pub(crate) fn image(&mut self, split: &'static str) -> usize {
        let next = self.untouched.get_mut(split).unwrap();
        *next += 1;
        assert!(*next <= self.originals[split], "more phantoms are needed");
        *next - 1
    }

    pub(crate) fn entry(&mut self, split: &str, image: usize) -> &mut Value {
        &mut self.files.get_mut(split).unwrap()["images"][image]
    }

    pub(crate) fn name(&mut self, split: &str, image: usize) -> String {
        self.entry(split, image)["file_name"].as_str().unwrap().to_owned()
    }

    pub(crate) fn path(&mut self, split: &str, image: usize) -> PathBuf {
        self.root().join(self.name(split, image))
    }

    pub(crate) fn list(&mut self, split: &str, list: &str) -> &mut Vec<Value> {
        self.files.get_mut(split).unwrap()[list].as_array_mut().unwrap()
    }

    /// The annotation of an image, which has one.
    pub(crate) fn annotation(&mut self, split: &str, image: usize) -> &mut Value {
        let id = self.entry(split, image)["id"].clone();
        self.list(split, "annotations").iter_mut().find(|a| a["image_id"] == id).unwrap()
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn decoded(&mut self, split: &str, image: usize) -> GrayImage {
        image::open(self.path(split, image)).unwrap().to_luma8()
    }

    /// At an image of a split.
    pub(crate) fn at(&mut self, split: &str, code: &str, image: usize) -> Spot {
        let file = self.name(split, image);
        spot(split, code, &file, "")
    }

    /// At the annotation of an image.
    pub(crate) fn at_object(&mut self, code: &str, image: usize) -> Spot {
        let id = self.annotation("train", image)["id"].to_string();
        let file = self.name("train", image);
        spot("train", code, &file, &id)
    }

    /// Writes the annotations; `"@NaN"` is replaced by NaN, which is not JSON.
    pub(crate) fn write(&self) {
        for (split, file) in &self.files {
            let path = self.root().join(format!("annotations/{split}.json"));
            fs::write(path, file.to_string().replace("\"@NaN\"", "NaN")).unwrap();
        }
    }

    pub(crate) fn table(&self) -> Value {
        json!({ "type": "coco", "root": self.root(), "train": "annotations/train.json",
                "val": "annotations/val.json", "test": "annotations/test.json" })
    }
}

pub(crate) fn spot(split: &str, code: &str, file: &str, detail: &str) -> Spot {
    (split.into(), code.into(), file.into(), detail.into())
}

pub(crate) fn save(image: &GrayImage, path: &Path, format: ImageFormat) {
    image.save_with_format(path, format).unwrap();
}

/// A PNG that EXIF rotates by 90 degrees.
pub(crate) fn save_turned(image: &GrayImage, path: &Path) {
    // Little-endian TIFF, one entry: orientation (0x0112), a short, 6.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut encoder = image::codecs::png::PngEncoder::new(fs::File::create(path).unwrap());
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    let (width, height) = image.dimensions();
    encoder.write_image(image, width, height, image::ExtendedColorType::L8).unwrap();
}

/// Blobs that do not look like any phantom.
pub(crate) fn noise(seed: u32) -> GrayImage {
    GrayImage::from_fn(64, 64, |x, y| {
        let hash = (x / 8 * 31 + y / 8 * 17 + seed).wrapping_mul(2_654_435_761);
        Luma([(hash >> 24) as u8])
    })
}

/// What a report found, in the form of [`Spot`], sorted.
pub(crate) fn spots(report: &Value, root: &Path) -> Vec<Spot> {
    let root = format!("{}/", root.display());
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut spots = Vec::new();
    let mut add = |split: &str, findings: &Value| {
        for finding in findings.as_array().unwrap() {
            let examples = finding["examples"].as_array().unwrap();
            assert_eq!(finding["count"], json!(examples.len()));
            for example in examples {
                let file = if example["image"].is_null() { "file" } else { "image" };
                let file = text(&example[file]).replacen(&root, "", 1);
                let id = text(&example["annotation_id"]);
                let detail = if id.is_empty() { text(&example["category"]) } else { id };
                spots.push(spot(split, finding["code"].as_str().unwrap(), &file, &detail));
            }
        }
    };
    for split in report["splits"].as_array().unwrap() {
        add(split["split"].as_str().unwrap(), &split["findings"]);
    }
    add("", &report["across"]);
    spots.sort();
    spots
}
