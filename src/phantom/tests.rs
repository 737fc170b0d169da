//! What phantom datasets guarantee.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use sha2::{Digest, Sha256};

use super::*;
use sonotune_dataset::{DatasetConfig, Split};

fn small(kind: Kind) -> PhantomConfig {
    PhantomConfig { num_images: 12, image_size: 64, seed: 5, kind, ..PhantomConfig::default() }
}

fn write(config: &PhantomConfig, out: &Path) -> Summary {
    generate(config, out, false, &|_| {}).unwrap()
}

/// Contents of every file below `folder`.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for sub in ["", "images", "annotations", "labels"] {
        for entry in fs::read_dir(folder.join(sub)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = format!("{sub}/{}", entry.file_name().display());
                files.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(Kind::Ovary);
    let with_threads = |n: usize| {
        let out = folder.path().join(n.to_string());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| write(&config, &out));
        contents(&out)
    };
    let one = with_threads(1);
    assert_eq!(one.len(), 12 + 3 + 3 + 1);
    assert!(one == with_threads(2));
}

/// If you change the pictures, raise `GENERATOR_VERSION` and write the new digests here.
#[test]
fn pixels_are_the_same_on_every_machine() {
    let golden = [
        (Kind::Breast, "1d370462be09f7fc"),
        (Kind::Ovary, "96cca2ba5d568d70"),
        (Kind::Liver, "8b13d32ba8a02c43"),
    ];
    let digest = |kind| {
        let mut hasher = Sha256::new();
        for index in 0..4 {
            let image = render(&small(kind), index);
            hasher.update(&image.pixels);
            for lesion in image.lesions {
                hasher.update(lesion.mask.to_compressed());
            }
        }
        hex(&hasher.finalize())[..16].to_owned()
    };
    let found: Vec<_> = golden.iter().map(|&(kind, _)| digest(kind)).collect();
    let expected: Vec<_> = golden.iter().map(|&(_, digest)| digest.to_owned()).collect();
    assert_eq!(found, expected, "of generator version {}", output::GENERATOR_VERSION);
}

#[test]
fn an_image_depends_on_its_index_and_seed_alone() {
    let config = small(Kind::Liver);
    let larger = PhantomConfig { num_images: 500, train_fraction: 0.5, ..config.clone() };
    assert_eq!(render(&config, 3).pixels, render(&larger, 3).pixels);
    assert_ne!(render(&config, 3).pixels, render(&config, 4).pixels);
    let other = PhantomConfig { seed: 6, ..config.clone() };
    assert_ne!(render(&config, 3).pixels, render(&other, 3).pixels);
}

#[test]
fn masks_boxes_and_areas_agree() {
    for kind in Kind::ALL {
        for index in 0..8 {
            let config = PhantomConfig { max_lesions: 3, ..small(kind) };
            let image = render(&config, index);
            assert!((1..=3).contains(&image.lesions.len()), "{kind:?} {index}");
            for lesion in &image.lesions {
                let (rows, columns) = (lesion.mask.height, lesion.mask.width);
                assert_eq!((rows, columns), (64, 64));
                assert_eq!(lesion.mask.area(), u64::from(lesion.area));
                assert_eq!(lesion.mask.bbox(), lesion.bbox.map(f64::from), "{kind:?} {index}");
                let [x, y, w, h] = lesion.bbox;
                assert!(w > 2 && h > 2 && x + w <= 64 && y + h <= 64, "{:?}", lesion.bbox);
                assert!(lesion.area > 12 && lesion.area <= w * h);
                assert!(lesion.class < kind.classes().len());
            }
        }
    }
}

#[test]
fn images_show_speckle_between_black_and_white() {
    for kind in Kind::ALL {
        for index in 0..6 {
            let pixels = render(&small(kind), index).pixels;
            assert_eq!(pixels.len(), 64 * 64);
            let n = pixels.len() as f64;
            let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / n;
            let variance = pixels.iter().map(|&p| (f64::from(p) - mean).powi(2)).sum::<f64>() / n;
            assert!((12.0..190.0).contains(&mean), "{kind:?} {index}: mean {mean}");
            assert!(variance.sqrt() > 12.0, "{kind:?} {index}: deviation {}", variance.sqrt());
        }
    }
}

/// Mean grey of `rows` × `columns`, if any of it is in the picture.
fn mean_grey(image: &PhantomImage, columns: (u32, u32), rows: (u32, u32)) -> Option<f64> {
    let size = image.size;
    let mut greys = Vec::new();
    for row in rows.0..rows.1.min(size) {
        for column in columns.0..columns.1.min(size) {
            greys.push(f64::from(image.pixels[(row * size + column) as usize]));
        }
    }
    (!greys.is_empty()).then(|| greys.iter().sum::<f64>() / greys.len() as f64)
}

#[test]
fn fluid_brightens_what_lies_behind_and_malignant_lesions_shadow_it() {
    let config = PhantomConfig { images_per_patient: 1, marks: false, ..small(Kind::Breast) };
    // (inside, behind minus beside), summed per class.
    let mut sums = [[0.0f64; 3]; 3];
    for index in 0..90 {
        let image = render(&config, index);
        let lesion = &image.lesions[0];
        let [x, y, w, h] = lesion.bbox;
        let behind = (y + h + 1, y + h + 6);
        let inside = mean_grey(&image, (x + w / 3, x + 2 * w / 3), (y + h / 3, y + 2 * h / 3));
        let below = mean_grey(&image, (x + w / 3, x + 2 * w / 3), behind);
        let beside = mean_grey(&image, (0, x.saturating_sub(2)), behind)
            .or_else(|| mean_grey(&image, (x + w + 2, 64), behind));
        if let (Some(inside), Some(below), Some(beside)) = (inside, below, beside) {
            let sum = &mut sums[lesion.class];
            *sum = [sum[0] + inside, sum[1] + below - beside, sum[2] + 1.0];
        }
    }
    let [cyst, benign, malignant] = sums.map(|[inside, behind, n]| {
        assert!(n >= 20.0, "{sums:?}");
        (inside / n, behind / n)
    });
    assert!(cyst.0 + 5.0 < benign.0.min(malignant.0), "inside: {cyst:?} {benign:?} {malignant:?}");
    assert!(cyst.1 > benign.1 && benign.1 > malignant.1 + 5.0, "{cyst:?} {benign:?} {malignant:?}");
}

#[test]
fn splits_keep_patients_together_and_classes_in_balance() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("deeper/set");
    let config = PhantomConfig { num_images: 90, images_per_patient: 2, ..small(Kind::Breast) };
    let summary = write(&config, &out);
    assert_eq!((summary.images, summary.patients), (90, 45));
    let (mut patients, mut images) = (BTreeMap::new(), BTreeSet::new());
    for split in &summary.splits {
        let name = split.split.name();
        let json = fs::read(out.join(format!("annotations/{name}.json"))).unwrap();
        let coco: serde_json::Value = serde_json::from_slice(&json).unwrap();
        for image in coco["images"].as_array().unwrap() {
            let patient = image["patient"].as_str().unwrap().to_owned();
            assert_eq!(*patients.entry(patient).or_insert(name), name);
            assert!(images.insert(image["id"].as_u64().unwrap()));
            assert!(out.join(image["file_name"].as_str().unwrap()).is_file());
        }
        // 45 patients: 15 of each class, of whom 10 or 11 are trained on, and 2 or 3 in the others.
        let counts: Vec<_> = split.classes.iter().map(|class| class.images).collect();
        assert_eq!(counts.iter().sum::<usize>(), split.images);
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 2, "{counts:?}");
        assert!(split.images >= 12);
    }
    assert_eq!((images.len(), patients.len()), (90, 45));
}

#[test]
fn the_set_opens_as_coco_and_as_lists() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("set");
    let config =
        PhantomConfig { num_images: 36, empty_fraction: 0.3, max_lesions: 2, ..small(Kind::Ovary) };
    let summary = write(&config, &out);
    let root = serde_json::to_string(&out).unwrap();
    let coco: Box<dyn DatasetConfig> = serde_json::from_str(&format!(
        r#"{{"type": "coco", "root": {root}, "train": "annotations/train.json"}}"#
    ))
    .unwrap();
    let list: Box<dyn DatasetConfig> = serde_json::from_str(&format!(
        r#"{{"type": "list_file", "root": {root}, "train": "labels/train.txt"}}"#
    ))
    .unwrap();
    let (coco, list) = (coco.open(Split::Train).unwrap(), list.open(Split::Train).unwrap());
    let train = &summary.splits[0];
    let names: Vec<_> = coco.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, Kind::Ovary.classes());
    assert_eq!(coco.records.len(), train.images);
    let empty = coco.records.iter().filter(|record| record.objects.is_empty()).count();
    assert_eq!(empty, train.empty_images);
    assert!(empty > 0 && coco.records.iter().any(|record| record.objects.len() == 2));
    assert_eq!(list.records.len(), train.images - empty);
    for record in &list.records {
        let twin = coco.records.iter().find(|other| other.path == record.path).unwrap();
        let label = &list.categories[record.image_labels[0] as usize].name;
        for object in &twin.objects {
            assert_eq!(&coco.categories[object.category as usize].name, label);
        }
    }
}

#[test]
fn nothing_but_phantoms_is_overwritten_and_those_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let config = PhantomConfig { num_images: 3, ..small(Kind::Breast) };
    let refused = |out: &Path, overwrite, part: &str| {
        let error = generate(&config, out, overwrite, &|_| {}).unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 2, "{error:#}");
        assert!(error.to_string().contains(part), "{error:#}");
    };
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "precious").unwrap();
    refused(&foreign, false, "no phantom dataset");
    refused(&foreign, true, "no phantom dataset");
    refused(&foreign.join("thesis.txt"), true, "not a folder");
    assert_eq!(fs::read(foreign.join("thesis.txt")).unwrap(), b"precious");

    let out = folder.path().join("empty");
    fs::create_dir(&out).unwrap();
    write(&config, &out);
    let before = contents(&out);
    refused(&out, false, "--overwrite");
    assert!(before == contents(&out));
    let other = PhantomConfig { seed: 6, ..config.clone() };
    generate(&other, &out, true, &|_| {}).unwrap();
    assert!(before != contents(&out));
    // No temporary folder is left behind.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn bad_values_are_named() {
    let bad = |change: &dyn Fn(&mut PhantomConfig), key: &str| {
        let mut config = small(Kind::Breast);
        change(&mut config);
        let error = config.validate().unwrap_err();
        assert!(error.to_string().contains(key), "{error:#}");
        assert_eq!(sonotune_base::error::exit_code(&error), 2);
    };
    bad(&|c| c.num_images = 0, "num_images");
    bad(&|c| c.image_size = 16, "64 to 2048");
    bad(&|c| c.images_per_patient = 0, "images_per_patient");
    bad(&|c| c.max_lesions = 0, "empty_fraction");
    bad(&|c| c.empty_fraction = 1.0, "empty_fraction");
    bad(&|c| c.train_fraction = f64::NAN, "train_fraction");
    bad(&|c| c.val_fraction = 0.5, "add up");
    let unknown = serde_json::from_str::<PhantomConfig>(r#"{"num_image": 3}"#).unwrap_err();
    assert!(unknown.to_string().contains("num_image"), "{unknown}");
}
