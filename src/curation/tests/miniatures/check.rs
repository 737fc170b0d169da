//! Compares the output of a conversion with what a fixture says.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sonotune_base::Rle;

use super::{
    fixture::{Expected, Miniature},
    raster::{Picture, Raster},
    shapes::draw,
};

/// Every difference between `out` and `miniature`, one per line.
pub(crate) fn differences(miniature: &Miniature, out: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(out.join("annotations/all.json"))?;
    let coco: Value = serde_json::from_str(&text)?;
    let mut found = Vec::new();
    check_categories(miniature, &coco, &mut found);
    let images = list(&coco, "images");
    let annotations = list(&coco, "annotations");
    check_ids(images, annotations, &mut found);
    check_order(miniature, images, &mut found);
    check_files(miniature, images, out, &mut found)?;
    for expected in &miniature.expected {
        let Some(image) = images.iter().find(|image| is_of(image, expected)) else { continue };
        let place = place(expected);
        check_provenance(expected, image, &mut found);
        let own: Vec<&Value> =
            annotations.iter().filter(|a| a["image_id"] == image["id"]).collect();
        let raw = miniature.raw(&expected.source_file)?;
        let raw = raw.stacks.as_ref().and_then(|stacks| stacks.get("image")).unwrap_or(raw);
        let raster = Raster::render(raw, miniature.size)?;
        let picture = raster.picture(miniature, raw.form, expected.frame);
        if image["height"] != json!(picture.height) || image["width"] != json!(picture.width) {
            found.push(format!(
                "{place}: {} x {}, expected {} x {}",
                image["height"], image["width"], picture.height, picture.width
            ));
            continue;
        }
        check_objects(expected, &own, (picture.height, picture.width), &mut found)?;
        let file = out.join("images").join(image["file_name"].as_str().unwrap_or_default());
        check_pixels(expected, &picture, &file, &mut found)?;
    }
    check_report(miniature, images.len(), out, &mut found)?;
    Ok(found)
}

fn list<'a>(coco: &'a Value, key: &str) -> &'a [Value] {
    coco[key].as_array().map_or(&[], Vec::as_slice)
}

fn place(expected: &Expected) -> String {
    match expected.frame {
        Some(frame) => format!("{} frame {frame}", expected.source_file),
        None => expected.source_file.clone(),
    }
}

fn is_of(image: &Value, expected: &Expected) -> bool {
    image["source_file"] == json!(expected.source_file) && image["frame"] == json!(expected.frame)
}

fn check_categories(miniature: &Miniature, coco: &Value, found: &mut Vec<String>) {
    let shown = |category: &Value| {
        let text = |key: &str| category[key].as_str().unwrap_or("?").to_owned();
        format!("{} {} {}", category["id"], text("name"), text("supercategory"))
    };
    let got: Vec<String> = list(coco, "categories").iter().map(shown).collect();
    if got != miniature.categories {
        found.push(format!("categories {got:?}, expected {:?}", miniature.categories));
    }
}

fn check_ids(images: &[Value], annotations: &[Value], found: &mut Vec<String>) {
    for (what, records) in [("image", images), ("annotation", annotations)] {
        for (at, record) in records.iter().enumerate() {
            if record["id"] != json!(at + 1) {
                found.push(format!("{what} {at} has the id {}, expected {}", record["id"], at + 1));
            }
        }
    }
    let of_image: Vec<u64> =
        annotations.iter().map(|a| a["image_id"].as_u64().unwrap_or_default()).collect();
    if !of_image.is_sorted() {
        found.push("annotations are not in the order of images".to_owned());
    }
}

fn check_order(miniature: &Miniature, images: &[Value], found: &mut Vec<String>) {
    let shown = |image: &Value| match image["frame"].as_u64() {
        Some(frame) => format!("{} frame {frame}", image["source_file"].as_str().unwrap_or("?")),
        None => image["source_file"].as_str().unwrap_or("?").to_owned(),
    };
    let got: Vec<String> = images.iter().map(shown).collect();
    let expected: Vec<String> = miniature.expected.iter().map(place).collect();
    if got != expected {
        let (a, b): (BTreeSet<_>, BTreeSet<_>) = (got.iter().collect(), expected.iter().collect());
        let missing: Vec<_> = b.difference(&a).collect();
        let more: Vec<_> = a.difference(&b).collect();
        found.push(match (missing.is_empty(), more.is_empty()) {
            (true, true) => format!("images in the order\n{got:#?}\nexpected\n{expected:#?}"),
            _ => format!("images missing {missing:#?}, unexpected {more:#?}"),
        });
    }
}

/// Checks that the files are those of the records and have the expected names.
fn check_files(
    miniature: &Miniature,
    images: &[Value],
    out: &Path,
    found: &mut Vec<String>,
) -> Result<()> {
    let mut named = BTreeSet::new();
    for image in images {
        let name = image["file_name"].as_str().unwrap_or_default().to_owned();
        if !name.starts_with(&format!("{}__", miniature.name)) || !name.ends_with(".png") {
            found.push(format!("file name {name}, expected {}__….png", miniature.name));
        }
        if image["dataset"] != json!(miniature.name) {
            found.push(format!("{name}: dataset {}", image["dataset"]));
        }
        if !named.insert(name.clone()) {
            found.push(format!("file name {name} occurs twice"));
        }
    }
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(out.join("images"))? {
        there.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    if there != named {
        found.push(format!("files {there:?}, records name {named:?}"));
    }
    let mut top = BTreeSet::new();
    for entry in std::fs::read_dir(out)? {
        top.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let expected = ["annotations", "conversion.json", "images"].map(str::to_owned);
    if top != BTreeSet::from(expected) {
        found.push(format!("the output folder holds {top:?}"));
    }
    Ok(())
}

fn check_provenance(expected: &Expected, image: &Value, found: &mut Vec<String>) {
    let fields = [
        ("patient", &expected.patient),
        ("clip", &expected.clip),
        ("official_split", &expected.split),
    ];
    for (key, value) in fields {
        if image[key] != json!(value) {
            found.push(format!(
                "{}: {key} {}, expected {}",
                place(expected),
                image[key],
                json!(value)
            ));
        }
    }
    let got = &image["pixel_spacing"];
    if let Some(spacing) = expected.pixel_spacing.filter(|spacing| *got != json!(spacing)) {
        found.push(format!("{}: pixel_spacing {got}, expected {spacing:?}", place(expected)));
    }
}

fn check_objects(
    expected: &Expected,
    annotations: &[&Value],
    (height, width): (usize, usize),
    found: &mut Vec<String>,
) -> Result<()> {
    let place = place(expected);
    if annotations.len() != expected.objects.len() {
        let got: Vec<String> = annotations
            .iter()
            .map(|a| format!("{}: bbox {} area {}", a["category_id"], a["bbox"], a["area"]))
            .collect();
        found.push(format!("{place}: objects {got:?}, expected {:?}", expected.objects));
        return Ok(());
    }
    for (annotation, object) in annotations.iter().zip(&expected.objects) {
        let (category, shape) =
            object.split_once(':').context("an object needs `category: shape`")?;
        let want = draw(shape, height, width)?.set;
        let counts = annotation["segmentation"]["counts"].as_str().unwrap_or_default();
        let rle = Rle::from_compressed(height as u32, width as u32, counts)?;
        let got: Vec<bool> = rle.to_mask().iter().map(|&v| v != 0).collect();
        let same_category = annotation["category_id"].as_u64() == Some(category.trim().parse()?);
        let box_and_area = (bounds(&want, width), want.iter().filter(|&&set| set).count() as f64);
        let written = (
            annotation["bbox"].as_array().map(|b| b.iter().filter_map(Value::as_f64).collect()),
            annotation["area"].as_f64().unwrap_or_default(),
        );
        if got != want || !same_category {
            let differing = got.iter().zip(&want).filter(|(a, b)| a != b).count();
            found.push(format!(
                "{place}: category {} bbox {} area {}, expected {object} (bbox {:?} area {}): {differing} pixels differ",
                annotation["category_id"], annotation["bbox"], annotation["area"],
                box_and_area.0, box_and_area.1
            ));
        } else if written != (Some(box_and_area.0.to_vec()), box_and_area.1)
            || annotation["iscrowd"] != json!(0)
            || annotation["segmentation"]["size"] != json!([height, width])
        {
            found.push(format!("{place}: the record of {object} says {annotation}"));
        }
    }
    Ok(())
}

fn bounds(set: &[bool], width: usize) -> [f64; 4] {
    let pixels =
        || set.iter().enumerate().filter(|(_, set)| **set).map(|(at, _)| (at % width, at / width));
    let x0 = pixels().map(|p| p.0).min().unwrap_or(0);
    let x1 = pixels().map(|p| p.0 + 1).max().unwrap_or(0);
    let y0 = pixels().map(|p| p.1).min().unwrap_or(0);
    let y1 = pixels().map(|p| p.1 + 1).max().unwrap_or(0);
    [x0, y0, x1 - x0, y1 - y0].map(|v| v as f64)
}

/// Lossless sources must come out unchanged; for JPEGs and videos the picture must be
/// recognisable: the textures of two seeds or frames are at least 40 levels apart on average.
fn check_pixels(
    expected: &Expected,
    picture: &Picture,
    file: &Path,
    found: &mut Vec<String>,
) -> Result<()> {
    const LOSSY: f64 = 8.0;
    let got = image::open(file).with_context(|| file.display().to_string())?.to_rgb8();
    let ending = expected.source_file.rsplit('.').next().unwrap_or_default().to_lowercase();
    let is_lossy = matches!(ending.as_str(), "jpg" | "avi" | "mp4");
    let pairs = || got.pixels().flat_map(|p| p.0).zip(picture.data.iter().flatten().copied());
    if got.dimensions() != (picture.width as u32, picture.height as u32) {
        found.push(format!("{}: the file has {:?} pixels", place(expected), got.dimensions()));
        return Ok(());
    }
    let differing = pairs().filter(|(a, b)| a != b).count();
    let count = picture.data.len() * 3;
    let distance: f64 = pairs().map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>() / count as f64;
    if (is_lossy && distance > LOSSY) || (!is_lossy && differing > 0) {
        found.push(format!(
            "{}: {differing} of {count} samples of the image differ, by {distance:.1} on average",
            place(expected)
        ));
    }
    Ok(())
}

fn check_report(
    miniature: &Miniature,
    images: usize,
    out: &Path,
    found: &mut Vec<String>,
) -> Result<()> {
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("conversion.json"))?)?;
    if report["images"] != json!(images) {
        found.push(format!(
            "conversion.json counts {} images, there are {images}",
            report["images"]
        ));
    }
    let left_out = &report["left_out"];
    if left_out["empty"] != json!(miniature.left_out.empty) {
        found.push(format!(
            "{} images left out as empty, expected {}",
            left_out["empty"], miniature.left_out.empty
        ));
    }
    if left_out["unpaired"] != json!(miniature.left_out.unpaired) {
        found.push(format!(
            "left out as unpaired {}, expected {:?}",
            left_out["unpaired"], miniature.left_out.unpaired
        ));
    }
    Ok(())
}
