//! Published datasets as they are downloaded, converted by their shipped specs: every pixel of every image
//! and mask. They are too large to ship: `SONOTUNE_REAL_DATA` names the folder that has them.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
};

use sonotune_base::Rle;

use crate::support::{assert_success, read_json, sonotune};

/// The mask files of an image.
type Masks = fn(&Path) -> Vec<PathBuf>;

/// A mask file decoded the plain way, to the size of its image: `(height, width)`.
type Decode = fn(&Path, (u32, u32)) -> Vec<bool>;

#[test]
fn published_datasets_convert_pixel_for_pixel() {
    let sets: [(&str, &str, Masks, Decode); 3] = [
        ("busi", "BUSI", busi_masks, |path, _| grey(path).1.iter().map(|&v| v >= 150).collect()),
        (
            "stu-hospital",
            "STU-Hospital",
            |image| vec![renamed(image, "Test_Image", "mask")],
            nearest,
        ),
        ("hc", "HC", |image| vec![renamed(image, ".png", "_Annotation.png")], filled),
    ];
    let folder = env::var_os("SONOTUNE_REAL_DATA").map(PathBuf::from);
    for (spec, name, masks, decode) in sets {
        let source = folder.as_deref().unwrap_or(Path::new("")).join(name);
        if folder.is_none() || !source.is_dir() {
            println!("skipped: {name} is missing (SONOTUNE_REAL_DATA names a folder with it)");
            continue;
        }
        let out = tempfile::tempdir().unwrap();
        let [from, to] = [&*source, out.path()].map(|path| path.display().to_string());
        assert_success(&sonotune(&["data", "convert", spec, &from, &to]));
        compare(&source, out.path(), masks, decode);
    }
}

fn compare(source: &Path, out: &Path, masks: Masks, decode: Decode) {
    let coco = read_json(&out.join("annotations/all.json"));
    let mut objects: HashMap<u64, Vec<Rle>> = HashMap::new();
    for object in coco["annotations"].as_array().unwrap() {
        let mask = &object["segmentation"];
        let [height, width] = [0, 1].map(|i| mask["size"][i].as_u64().unwrap() as u32);
        let rle = Rle::from_compressed(height, width, mask["counts"].as_str().unwrap()).unwrap();
        objects.entry(object["image_id"].as_u64().unwrap()).or_default().push(rle);
    }
    for image in coco["images"].as_array().unwrap() {
        let side = |key: &str| image[key].as_u64().unwrap() as u32;
        let text = |key: &str| image[key].as_str().unwrap();
        let (size, original) = ((side("height"), side("width")), source.join(text("source_file")));
        let rgb = |path: &Path| image::open(path).unwrap().to_rgb8();
        let converted = out.join("images").join(text("file_name"));
        assert!(rgb(&original) == rgb(&converted), "{}", original.display());
        let mut expected = vec![false; (size.0 * size.1) as usize];
        for mask in masks(&original) {
            expected.iter_mut().zip(decode(&mask, size)).for_each(|(all, one)| *all |= one);
        }
        let found = &objects[&image["id"].as_u64().unwrap()];
        let found: Vec<bool> =
            Rle::union(found).unwrap().to_mask().into_iter().map(|pixel| pixel != 0).collect();
        assert!(found == expected, "{}", original.display());
    }
}

fn renamed(image: &Path, from: &str, to: &str) -> PathBuf {
    image.with_file_name(image.file_name().unwrap().to_str().unwrap().replace(from, to))
}

fn busi_masks(image: &Path) -> Vec<PathBuf> {
    let stem = format!("{}_mask", image.file_stem().unwrap().to_str().unwrap());
    let paths = fs::read_dir(image.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&stem)).collect()
}

/// `(height, width)` and the values.
fn grey(path: &Path) -> ((u32, u32), Vec<u8>) {
    let image = image::open(path).unwrap().to_luma8();
    ((image.height(), image.width()), image.into_raw())
}

fn nearest(path: &Path, (height, width): (u32, u32)) -> Vec<bool> {
    let ((h, w), values) = grey(path);
    let at = |y: u32, x: u32| values[((y * h / height) * w + x * w / width) as usize];
    (0..height).flat_map(|y| (0..width).map(move |x| at(y, x) == 255)).collect()
}

/// An outline and everything that cannot be reached from the border.
fn filled(path: &Path, (height, width): (u32, u32)) -> Vec<bool> {
    let (_, values) = grey(path);
    let (h, w) = (height as usize, width as usize);
    let mut outside = vec![false; h * w];
    let border = (0..h).flat_map(|y| [y * w, y * w + w - 1]);
    let mut next: Vec<usize> = border.chain((0..w).flat_map(|x| [x, (h - 1) * w + x])).collect();
    while let Some(at) = next.pop() {
        if outside[at] || values[at] == 255 {
            continue;
        }
        outside[at] = true;
        let (y, x) = (at / w, at % w);
        next.extend((y > 0).then(|| at - w));
        next.extend((y + 1 < h).then(|| at + w));
        next.extend((x > 0).then(|| at - 1));
        next.extend((x + 1 < w).then(|| at + 1));
    }
    outside.into_iter().map(|outside| !outside).collect()
}
