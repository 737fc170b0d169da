//! Classification lists from COCO files: one line `path label` per image.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;
use sonotune_base::{Error, fs::atomic_write};

use crate::{AnnotationRecord, CocoFile};

/// How to label an image whose objects differ in class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mixed {
    /// The image is left out and counted.
    Skip,
    /// An error that names the image.
    Fail,
    // If several are equally large, the first in category order.
    /// The class of its largest object.
    Largest,
    /// All its classes, joined by commas.
    All,
}

#[derive(Debug, Clone, Serialize)]
pub struct ExportOptions {
    pub mixed: Mixed,
    /// Use names as labels instead of indices from 0 in the order of the categories.
    pub names: bool,
    /// Prepended to each path, e.g. `images/`.
    pub prefix: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// Number of lines written.
    pub images: usize,
    /// Name of each class and its number of images, in the order of labels.
    pub classes: Vec<(String, usize)>,
    /// Number of images without objects; they get no line.
    pub without_objects: usize,
    /// Number of images with objects of several classes, whether listed or not.
    pub mixed: usize,
}

/// The list of `file`, in the order of its images.
///
/// # Errors
/// If an image has several classes and that is not allowed, or a path or name cannot be written in a
/// list.
pub fn list(file: &CocoFile, options: &ExportOptions) -> Result<(String, ExportReport)> {
    let labels = labels(file, options)?;
    let classes: HashMap<u64, usize> =
        file.categories.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
    let mut objects: HashMap<u64, Vec<&AnnotationRecord>> = HashMap::new();
    for annotation in &file.annotations {
        objects.entry(annotation.image_id).or_default().push(annotation);
    }
    let mut report = ExportReport {
        images: 0,
        classes: file.categories.iter().map(|c| (c.name.clone(), 0)).collect(),
        without_objects: 0,
        mixed: 0,
    };
    let mut text = String::new();
    for image in &file.images {
        let Some(objects) = objects.get(&image.id) else {
            report.without_objects += 1;
            continue;
        };
        // Area of the largest object of each class.
        let mut areas: BTreeMap<usize, f64> = BTreeMap::new();
        for object in objects {
            let class =
                *classes.get(&object.category_id).context("an object has an unknown category")?;
            let area = areas.entry(class).or_default();
            *area = area.max(object.area);
        }
        report.mixed += usize::from(areas.len() > 1);
        let chosen = chosen(&areas, options.mixed).with_context(|| {
            let names: Vec<_> = areas.keys().map(|&c| &*file.categories[c].name).collect();
            Error::data(format!(
                "image {} has objects of {} classes ({}); choose how to label it with --mixed skip, \
                 largest or all",
                image.file_name,
                names.len(),
                names.join(", ")
            ))
        })?;
        if chosen.is_empty() {
            continue;
        }
        let path = format!("{}{}", options.prefix, image.file_name);
        check_path(&path)?;
        let label: Vec<&str> = chosen.iter().map(|&class| &*labels[class]).collect();
        text.push_str(&format!("{path} {}\n", label.join(",")));
        report.images += 1;
        chosen.iter().for_each(|&class| report.classes[class].1 += 1);
    }
    Ok((text, report))
}

/// Writes the list of `file` to `path`.
///
/// # Errors
/// Same errors as [`list`]; also if the list cannot be written or would be empty.
pub fn write_list(file: &CocoFile, path: &Path, options: &ExportOptions) -> Result<ExportReport> {
    let (text, report) = list(file, options)?;
    if report.images == 0 {
        return Err(Error::data("no image has a class: the list would be empty").into());
    }
    atomic_write(path, text.as_bytes())?;
    Ok(report)
}

fn labels(file: &CocoFile, options: &ExportOptions) -> Result<Vec<String>> {
    if !options.names {
        return Ok((0..file.categories.len()).map(|i| i.to_string()).collect());
    }
    let name = |category: &crate::CategoryRecord| {
        let name = category.name.clone();
        // A comma separates labels, white space ends the path.
        if name.contains(|c: char| c.is_whitespace() || c == ',') {
            let message = format!(
                "class \"{name}\" cannot be used in a list: omit --names, or rename the class"
            );
            return Err(Error::data(message).into());
        }
        Ok(name)
    };
    file.categories.iter().map(name).collect()
}

/// Classes of an image in the order of labels; empty for an image that is left out, `None` if that
/// is an error.
fn chosen(areas: &BTreeMap<usize, f64>, mixed: Mixed) -> Option<Vec<usize>> {
    let classes: Vec<usize> = areas.keys().copied().collect();
    match mixed {
        _ if classes.len() == 1 => Some(classes),
        Mixed::All => Some(classes),
        Mixed::Skip => Some(Vec::new()),
        Mixed::Fail => None,
        Mixed::Largest => {
            let largest = areas.iter().rev().max_by(|a, b| a.1.total_cmp(b.1));
            Some(largest.map(|(&class, _)| class).into_iter().collect())
        }
    }
}

/// Readers of lists trim lines, end them at `\n`, treat `#` as a comment, and take tabs and quotes for
/// what separates path and label.
fn check_path(path: &str) -> Result<()> {
    let is_plain = path.trim() == path
        && !path.starts_with(['#', '"', '\''])
        && !path.contains(['\n', '\r', '\t']);
    if is_plain {
        return Ok(());
    }
    let message = format!("image {path:?} cannot be used in a list: rename it, or see --prefix");
    Err(Error::data(message).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(objects: &[(u32, u32, u32)]) -> CocoFile {
        let object = |&(image, category, area): &(u32, u32, u32)| {
            serde_json::json!({ "image_id": image, "category_id": category, "bbox": [0, 0, 9, 9],
                                "area": area })
        };
        let image = |id: u32| {
            let file_name = format!("case {id}.png");
            serde_json::json!({ "id": id, "file_name": file_name, "height": 9, "width": 9 })
        };
        let json = serde_json::json!({
            "images": [image(1), image(2), image(3)],
            "annotations": objects.iter().map(object).collect::<Vec<_>>(),
            "categories": [{ "id": 3, "name": "gist" }, { "id": 1, "name": "lmym" }],
        });
        CocoFile::from_slice(json.to_string().as_bytes(), Path::new("x.json")).unwrap()
    }

    fn text(file: &CocoFile, mixed: Mixed, names: bool) -> Result<(String, ExportReport)> {
        list(file, &ExportOptions { mixed, names, prefix: "images/".into() })
    }

    #[test]
    fn labels_count_from_0_in_the_order_of_categories() {
        let file = file(&[(1, 1, 5), (1, 1, 9), (3, 3, 7)]);
        let (text, report) = text(&file, Mixed::Fail, false).unwrap();
        assert_eq!(text, "images/case 1.png 1\nimages/case 3.png 0\n");
        assert_eq!((report.images, report.without_objects, report.mixed), (2, 1, 0));
        assert_eq!(report.classes, [("gist".into(), 1), ("lmym".to_owned(), 1)]);
    }

    #[test]
    fn an_image_of_several_classes_follows_the_rule() {
        let file = file(&[(1, 1, 5), (1, 3, 9), (2, 1, 7), (2, 3, 7), (3, 1, 1)]);
        let list = |mixed| text(&file, mixed, true).unwrap();
        assert_eq!(list(Mixed::Skip).0, "images/case 3.png lmym\n");
        let (largest, report) = list(Mixed::Largest);
        assert_eq!(
            largest,
            "images/case 1.png gist\nimages/case 2.png gist\nimages/case 3.png lmym\n"
        );
        assert_eq!(report.mixed, 2);
        assert!(list(Mixed::All).0.starts_with("images/case 1.png gist,lmym\n"));
        let error = text(&file, Mixed::Fail, true).unwrap_err().to_string();
        assert!(error.contains("case 1.png has objects of 2 classes (gist, lmym)"), "{error}");
    }

    #[test]
    fn what_a_reader_would_misread_is_refused() {
        let mut file = file(&[(1, 1, 5)]);
        file.images[0].file_name = "#1.png".into();
        let bare = ExportOptions { mixed: Mixed::Fail, names: false, prefix: String::new() };
        assert!(list(&file, &bare).unwrap_err().to_string().contains("#1.png"));
        assert!(text(&file, Mixed::Fail, false).is_ok());
        file.categories[0].name = "smooth muscle".into();
        let error = text(&file, Mixed::Fail, true).unwrap_err().to_string();
        assert!(error.contains("\"smooth muscle\" cannot be used in a list"), "{error}");
    }
}
