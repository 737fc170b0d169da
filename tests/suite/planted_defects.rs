//! A phantom dataset with known defects: each is found where it was planted, and nothing else.

use std::{fs, path::Path, process::Output};

use image::{DynamicImage, GrayImage, ImageFormat, Luma, imageops};
use serde_json::{self, Value, json};
use sonotune_audit::check::{CheckOptions, check};
use sonotune_base::image_io::DecodeOptions;
use sonotune_dataset::{DatasetConfig, findings::Code};

use crate::{
    defects_support::{Set, Spot, clean, noise, save, save_turned, spot, spots},
    support::{assert_contains, assert_fails, sonotune, stdout, write_config},
};

const DECODE: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1 << 20 };

type Plant = fn(&mut Set) -> Vec<Spot>;

/// Replaces the segmentation of the annotation of a new image.
fn segment(set: &mut Set, code: &str, segmentation: Value) -> Vec<Spot> {
    let i = set.image("train");
    set.annotation("train", i)["segmentation"] = segmentation;
    vec![set.at_object(code, i)]
}

/// Changes a key of the annotation of a new image.
fn annotate(set: &mut Set, code: &str, key: &str, change: impl Fn(&Value) -> Value) -> Vec<Spot> {
    let i = set.image("train");
    let annotation = set.annotation("train", i);
    annotation[key] = change(&annotation[key]);
    vec![set.at_object(code, i)]
}

/// Gives an image another object, without a mask.
fn add_object(set: &mut Set, image: usize, change: impl Fn(&mut Value)) -> u64 {
    let (id, image_id) = (set.id(), set.entry("train", image)["id"].clone());
    let mut object = json!({ "id": id, "image_id": image_id, "category_id": 1, "area": 9,
                             "bbox": [2, 2, 3, 3], "segmentation": [] });
    change(&mut object);
    set.list("train", "annotations").push(object);
    id
}

/// Makes the object of a new image a box without a mask.
fn boxed(set: &mut Set, code: &str, bbox: Value) -> Vec<Spot> {
    let i = set.image("train");
    let annotation = set.annotation("train", i);
    annotation["segmentation"] = json!(null);
    annotation["bbox"] = bbox;
    vec![set.at_object(code, i)]
}

fn write_image(set: &mut Set, code: &str, write: impl Fn(&GrayImage, &Path)) -> Vec<Spot> {
    let i = set.image("train");
    let (image, path) = (set.decoded("train", i), set.path("train", i));
    write(&image, &path);
    vec![set.at("train", code, i)]
}

/// Every defect, each with the function that plants it.
const DEFECTS: &[(&str, Plant)] = &[
    ("an image is gone", |set| {
        write_image(set, "missing-image", |_, path| fs::remove_file(path).unwrap())
    }),
    ("an empty file", |set| write_image(set, "empty-file", |_, path| fs::write(path, "").unwrap())),
    ("a web page", |set| {
        write_image(set, "not-an-image", |_, path| fs::write(path, "<html></html>").unwrap())
    }),
    ("a truncated PNG", |set| {
        write_image(set, "unreadable-image", |_, path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        })
    }),
    ("a truncated JPEG", |set| {
        write_image(set, "unreadable-image", |image, path| {
            save(image, path, ImageFormat::Jpeg);
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 40]).unwrap();
        })
    }),
    ("a damaged PNG", |set| {
        write_image(set, "unreadable-image", |_, path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            fs::write(path, bytes).unwrap();
        })
    }),
    ("another size", |set| {
        write_image(set, "size-mismatch", |image, path| {
            let small = imageops::crop_imm(image, 0, 0, 64, 48).to_image();
            save(&small, path, ImageFormat::Png);
        })
    }),
    ("EXIF turns it, the annotations not", |set| {
        let spots = write_image(set, "exif-rotated", |image, path| {
            save_turned(&imageops::crop_imm(image, 0, 0, 64, 48).to_image(), path);
        });
        let i = set.untouched["train"] - 1;
        set.entry("train", i)["height"] = json!(48);
        let annotation = set.annotation("train", i);
        annotation["segmentation"] = json!(null);
        annotation["bbox"] = json!([5, 6, 20, 21]);
        spots
    }),
    ("EXIF turns a square", |set| write_image(set, "exif-orientation", save_turned)),
    ("a TIFF of two pages", |set| {
        write_image(set, "several-pages", |image, path| {
            save(image, path, ImageFormat::Tiff);
            let mut bytes = fs::read(path).unwrap();
            // The second page is a copy of the first one's directory, at the end.
            let at = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
            let link = at + 2 + 12 * usize::from(bytes[at]);
            let copy = bytes[at..link + 4].to_vec();
            let end = u32::try_from(bytes.len()).unwrap().to_le_bytes();
            bytes[link..link + 4].copy_from_slice(&end);
            bytes.extend(copy);
            fs::write(path, bytes).unwrap();
        })
    }),
    ("the values of 14 bits in 16", |set| {
        write_image(set, "unused-bits", |image, path| {
            let most = u32::from(image.pixels().map(|pixel| pixel.0[0]).max().unwrap());
            let deep = image::ImageBuffer::from_fn(image.width(), image.height(), |x, y| {
                let value = u32::from(image.get_pixel(x, y).0[0]);
                Luma([u16::try_from(value * 16383 / most).unwrap()])
            });
            DynamicImage::from(deep).save_with_format(path, ImageFormat::Png).unwrap();
        })
    }),
    ("one grey level", |set| {
        write_image(set, "constant-image", |_, path| {
            save(&GrayImage::from_pixel(64, 64, Luma([7])), path, ImageFormat::Png);
        })
    }),
    ("a file is listed twice", |set| {
        let i = set.image("train");
        let (mut image, mut annotation) =
            (set.entry("train", i).clone(), set.annotation("train", i).clone());
        image["id"] = json!(set.id());
        annotation["image_id"] = image["id"].clone();
        annotation["id"] = json!(set.id());
        set.list("train", "images").push(image);
        set.list("train", "annotations").push(annotation);
        vec![set.at("train", "duplicate-file", i)]
    }),
    ("two images have one id", |set| {
        let i = set.image("train");
        let mut image = set.entry("train", i).clone();
        image["file_name"] = json!("images/extra.png");
        save(&noise(1), &set.root().join("images/extra.png"), ImageFormat::Png);
        set.list("train", "images").push(image);
        vec![spot("train", "duplicate-image-id", "images/extra.png", "")]
    }),
    ("two annotations have one id", |set| {
        let (i, j) = (set.image("train"), set.image("train"));
        let id = set.annotation("train", i)["id"].clone();
        set.annotation("train", j)["id"] = id;
        vec![set.at_object("duplicate-annotation-id", j)]
    }),
    ("an annotation of no image", |set| {
        let i = set.image("train");
        let id = add_object(set, i, |object| object["image_id"] = json!(99_999));
        vec![spot("train", "unknown-image", "annotations/train.json", &id.to_string())]
    }),
    ("an annotation of no category", |set| {
        let i = set.image("train");
        let id = add_object(set, i, |object| object["category_id"] = json!(77));
        let file = set.name("train", i);
        vec![spot("train", "unknown-category", &file, &id.to_string())]
    }),
    ("an annotation without category", |set| {
        let i = set.image("train");
        let id = add_object(set, i, |object| object["category_id"] = json!(null));
        let file = set.name("train", i);
        vec![spot("train", "malformed-entry", &file, &id.to_string())]
    }),
    ("an image without a name", |set| {
        let id = set.id();
        set.list("train", "images").push(json!({ "id": id, "height": 64, "width": 64 }));
        vec![spot("train", "malformed-entry", "annotations/train.json", "")]
    }),
    ("two categories have one id", |set| {
        set.list("train", "categories").push(json!({ "id": 1, "name": "again" }));
        vec![spot("train", "duplicate-category", "annotations/train.json", "again")]
    }),
    ("two categories have one name", |set| {
        let name = set.files["train"]["categories"][0]["name"].as_str().unwrap().to_owned();
        set.list("train", "categories").push(json!({ "id": 55, "name": name }));
        vec![spot("train", "duplicate-category", "annotations/train.json", &name)]
    }),
    ("a split names a category otherwise", |set| {
        set.list("val", "categories")[0]["name"] = json!("lump");
        vec![spot("val", "categories-differ", "annotations/val.json", "")]
    }),
    ("a category that nothing shows", |set| {
        for split in ["train", "val", "test"] {
            set.list(split, "categories").push(json!({ "id": 9, "name": "unseen" }));
        }
        vec![spot("train", "category-without-objects", "annotations/train.json", "unseen")]
    }),
    ("a category that one object shows", |set| {
        for split in ["train", "val", "test"] {
            set.list(split, "categories").push(json!({ "id": 10, "name": "rare" }));
        }
        let i = set.image("train");
        set.annotation("train", i)["category_id"] = json!(10);
        vec![spot("train", "class-imbalance", "annotations/train.json", "rare")]
    }),
    ("a mask without a pixel", |set| {
        segment(set, "empty-mask", json!({ "size": [64, 64], "counts": [4096] }))
    }),
    ("a polygon of two points", |set| segment(set, "bad-polygon", json!([[10, 10, 20, 20]]))),
    ("a polygon with half a point", |set| {
        segment(set, "bad-polygon", json!([[10, 10, 20, 10, 20, 20, 10]]))
    }),
    ("a polygon beyond the frame", |set| {
        let i = set.image("train");
        let annotation = set.annotation("train", i);
        annotation["segmentation"] = json!([[40, 20, 90, 20, 90, 40, 40, 40]]);
        annotation["bbox"] = json!([40, 20, 24, 20]);
        annotation["area"] = json!(480);
        vec![set.at_object("mask-beyond-frame", i)]
    }),
    ("a box beyond the frame", |set| boxed(set, "box-beyond-frame", json!([50, 10, 30, 20]))),
    ("a box elsewhere than its mask", |set| {
        let i = set.image("train");
        let annotation = set.annotation("train", i);
        annotation["segmentation"] = json!([[10, 10, 30, 10, 30, 30, 10, 30]]);
        annotation["bbox"] = json!([20, 10, 20, 20]);
        annotation["area"] = json!(400);
        vec![set.at_object("box-mask-mismatch", i)]
    }),
    ("a box of no width", |set| boxed(set, "tiny-box", json!([10, 10, 0, 4]))),
    ("a box narrower than a pixel", |set| boxed(set, "tiny-box", json!([10, 10, 0.5, 4]))),
    ("a negative area", |set| annotate(set, "bad-number", "area", |_| json!(-3))),
    ("a box that is not a number", |set| {
        annotate(set, "bad-number", "bbox", |_| json!([3, "@NaN", 4, 4]))
    }),
    ("a box of negative width", |set| {
        annotate(set, "bad-number", "bbox", |_| json!([30, 3, -4, 4]))
    }),
    ("a polygon that is not a number", |set| {
        segment(set, "bad-number", json!([[10, 10, 20, 10, "@NaN", 20]]))
    }),
    ("run lengths of another size", |set| {
        segment(set, "mask-size", json!({ "size": [32, 32], "counts": [500, 24, 500] }))
    }),
    ("run lengths that end too early", |set| {
        segment(set, "bad-rle", json!({ "size": [64, 64], "counts": [500, 24, 500] }))
    }),
    ("an area that is another's", |set| {
        annotate(set, "area-mismatch", "area", |area| json!(3 * area.as_u64().unwrap()))
    }),
    ("an object is annotated twice", |set| {
        let i = set.image("train");
        let mut annotation = set.annotation("train", i).clone();
        annotation["id"] = json!(set.id());
        let id = annotation["id"].to_string();
        set.list("train", "annotations").push(annotation);
        let file = set.name("train", i);
        vec![spot("train", "duplicate-object", &file, &id)]
    }),
    ("an image is not annotated", |set| {
        let i = set.image("train");
        let id = set.entry("train", i)["id"].clone();
        set.list("train", "annotations").retain(|a| a["image_id"] != id);
        vec![set.at("train", "image-without-objects", i)]
    }),
    ("an image is there twice, as BMP", |set| {
        let (i, j) = (set.image("train"), set.image("train"));
        save(&set.decoded("train", i), &set.path("train", j), ImageFormat::Bmp);
        let class = set.annotation("train", i)["category_id"].clone();
        set.annotation("train", j)["category_id"] = class;
        vec![set.at("train", "identical-images", j)]
    }),
    ("an image of two splits, as RGB", |set| {
        let (i, j) = (set.image("train"), set.image("val"));
        let colour = DynamicImage::ImageLuma8(set.decoded("train", i)).to_rgb8();
        colour.save_with_format(set.path("val", j), ImageFormat::Tiff).unwrap();
        let class = set.annotation("train", i)["category_id"].clone();
        set.annotation("val", j)["category_id"] = class;
        let file = set.name("val", j);
        vec![spot("", "shared-image", &file, "")]
    }),
    ("a brightened JPEG in another split", |set| {
        let (i, j) = (set.image("train"), set.image("val"));
        let brighter = imageops::brighten(&set.decoded("train", i), 8);
        save(&brighter, &set.path("val", j), ImageFormat::Jpeg);
        let file = set.name("val", j);
        vec![spot("", "near-duplicate", &file, "")]
    }),
    ("a mirrored image in another split", |set| {
        let (i, j) = (set.image("train"), set.image("test"));
        let mirrored = imageops::flip_horizontal(&set.decoded("train", i));
        save(&mirrored, &set.path("test", j), ImageFormat::Png);
        let file = set.name("test", j);
        vec![spot("", "near-duplicate", &file, "")]
    }),
    ("a patient of two splits", |set| {
        let (i, j) = (set.image("train"), set.image("test"));
        let patient = set.entry("train", i)["patient"].clone();
        set.entry("test", j)["patient"] = patient;
        let file = set.name("test", j);
        vec![spot("", "shared-patient", &file, "")]
    }),
    ("a clip of two splits", |set| {
        let (i, j) = (set.image("train"), set.image("test"));
        for (split, image) in [("train", i), ("test", j)] {
            let entry = set.entry(split, image);
            entry["patient"] = json!(null);
            entry["clip"] = json!("clip7");
        }
        let file = set.name("test", j);
        vec![spot("", "shared-clip", &file, "")]
    }),
    ("a file that nothing lists", |set| {
        save(&noise(2), &set.root().join("images/forgotten.png"), ImageFormat::Png);
        vec![spot("", "unlisted-image", "images/forgotten.png", "")]
    }),
    ("a path that leaves the root", |set| {
        let i = set.image("train");
        let path = set.path("train", i);
        fs::rename(path, set.folder.path().join("outside.png")).unwrap();
        set.entry("train", i)["file_name"] = json!("../outside.png");
        vec![spot("train", "path-outside-root", "../outside.png", "")]
    }),
];

/// Checks in this process.
fn checked(set: &Set) -> Vec<Spot> {
    let config: Box<dyn DatasetConfig> = serde_json::from_value(set.table()).unwrap();
    let options = CheckOptions { max_ratio: MAX_RATIO, ..CheckOptions::new(Some(DECODE)) };
    let report = check(&*config, options, &|| ()).unwrap();
    spots(&serde_json::to_value(&report).unwrap(), &set.root())
}

/// Checks as a user does.
fn data_check(set: &Set, more: &[&str]) -> Output {
    let config = write_config(set.folder.path(), &set.root()).display().to_string();
    let test = "dataset.test=annotations/test.json";
    sonotune(&[&["data", "check", &config, test], more].concat())
}

/// The training split has 18 or 19 objects of each class.
const MAX_RATIO: f64 = 8.0;

#[test]
fn all_planted_defects_are_found_where_they_are_and_nothing_else() {
    assert!(DEFECTS.len() >= 25);
    let mut set = Set::new();
    let mut expected: Vec<Spot> = DEFECTS.iter().flat_map(|(_, plant)| plant(&mut set)).collect();
    expected.sort();
    set.write();
    let output = data_check(&set, &["--json", "--max-ratio", "8"]);
    assert_fails(&output, 3, &["faults and", "fix these"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = spots(&report, &set.root());
    for spot in &expected {
        assert!(found.contains(spot), "not found: {spot:?}\nfound {found:#?}");
    }
    assert_eq!(found, expected);
}

#[test]
fn each_defect_alone_is_found_alone() {
    for (what, plant) in DEFECTS {
        let mut set = Set::new();
        let mut expected = plant(&mut set);
        expected.sort();
        set.write();
        assert_eq!(checked(&set), expected, "{what}");
    }
}

#[test]
fn clean_phantoms_give_nothing() {
    let set = Set::new();
    assert_eq!(checked(&set), []);
    assert_contains(&stdout(&data_check(&set, &["--strict"])), &["nothing found in 80 images"]);
}

#[test]
fn a_broken_file_hides_neither_the_other_splits_nor_what_a_run_would_stop_at() {
    let mut set = Set::new();
    let test = set.root().join("annotations/test.json");
    let bytes = fs::read(&test).unwrap();
    fs::write(&test, &bytes[..bytes.len() / 2]).unwrap();
    let name = set.name("train", 0);
    fs::remove_file(set.root().join(&name)).unwrap();
    let found = checked(&set);
    let codes: Vec<&str> = found.iter().map(|spot| spot.1.as_str()).collect();
    assert!(codes.contains(&"missing-image"), "{found:?}");
    assert!(found.contains(&spot("test", "unreadable-annotations", "annotations/test.json", "")));
    let mut table = set.table();
    table["exclude"] = json!(["no such image"]);
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
    fs::write(&test, bytes).unwrap();
    fs::copy(clean().join("set").join(&name), set.root().join(&name)).unwrap();
    let report = check(&*config, CheckOptions::new(None), &|| ()).unwrap();
    let found: Vec<_> =
        report.findings().map(|(_, f)| (f.code, f.examples[0].got.clone())).collect();
    let [(Code::CannotOpen, reason)] = &found[..] else { panic!("{found:?}") };
    assert!(reason.contains("matches no image"), "{reason}");
}
