//! Images that no model has seen, with the truth about them, and questions about it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sonotune_base::{Error, Rle, Segmentation, fs::atomic_write};
use sonotune_coco::CocoFile;

use crate::folder::{DemoFolder, Predicted};

/// Test images of each set that are predicted for the page.
const MOST_IMAGES: usize = 100;

/// An image with its annotations.
#[derive(Debug, Clone)]
pub(crate) struct TestImage {
    /// Its name in its folder.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) objects: Vec<Truth>,
}

/// An annotated lesion.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    pub(crate) category: String,
    pub(crate) mask: Rle,
    /// XYXY, pixels.
    pub(crate) bbox: [f64; 4],
    /// Mean column and row of the mask, which is where the model is clicked.
    pub(crate) centre: (f64, f64),
}

/// The first images of the test split of a set of phantoms.
///
/// # Errors
/// If its annotations are not a COCO file with masks.
pub(crate) fn read(data: &Path) -> Result<Vec<TestImage>> {
    let path = data.join("annotations/test.json");
    let file = CocoFile::read(&path)?;
    let mut images = Vec::new();
    for image in file.images.iter().take(MOST_IMAGES) {
        let mut objects = Vec::new();
        for annotation in file.annotations.iter().filter(|a| a.image_id == image.id) {
            let [x, y, width, height] = annotation.bbox;
            let raw = annotation.segmentation.as_deref().map_or("null", |raw| raw.get());
            let segmentation: Segmentation = serde_json::from_str(raw)
                .with_context(|| format!("{}: the mask of {}", path.display(), image.file_name))?;
            let mask = segmentation.rasterize((image.height, image.width), annotation.bbox)?;
            // A lesion without pixels cannot be clicked on.
            let Some(centre) = mask.centroid() else { continue };
            let category = file.categories.iter().find(|c| c.id == annotation.category_id);
            objects.push(Truth {
                category: category.map(|c| c.name.clone()).unwrap_or_default(),
                mask,
                bbox: [x, y, x + width, y + height],
                centre,
            });
        }
        let name = image.file_name.rsplit('/').next().unwrap_or(&image.file_name).to_owned();
        images.push(TestImage { name, path: data.join(&image.file_name), objects });
    }
    if images.iter().all(|image| image.objects.is_empty()) {
        return Err(Error::data(format!("{} has no lesion to show", path.display())).into());
    }
    Ok(images)
}

/// Copies images of both test splits into folders of their own, like a user's images, and writes a click and a box
/// for each lesion of the first organ.
///
/// # Errors
/// If the annotations cannot be read, an image is missing, or a file cannot be written.
pub fn write_test_images(folder: &DemoFolder) -> Result<()> {
    let prompted = read(&folder.pretraining_data())?;
    copy(&prompted, &folder.images(Predicted::Clicks))?;
    copy(&read(&folder.fine_tuning_data())?, &folder.images(Predicted::Classes))?;
    for predicted in [Predicted::Clicks, Predicted::Boxes] {
        let path = folder.prompts(predicted);
        make_parent(&path)?;
        let text = serde_json::to_string_pretty(&prompts(&prompted, predicted))?;
        atomic_write(&path, text.as_bytes())?;
    }
    Ok(())
}

fn copy(images: &[TestImage], to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for image in images {
        fs::copy(&image.path, to.join(&image.name))
            .with_context(|| format!("cannot copy {}", image.path.display()))?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}

/// The questions, in the order of the objects: an answer's number is that of its object.
fn prompts(images: &[TestImage], predicted: Predicted) -> Value {
    let object = |truth: &Truth| match predicted {
        Predicted::Boxes => json!({"box": truth.bbox}),
        _ => json!({"points": [[truth.centre.0, truth.centre.1, 1]]}),
    };
    let image = |image: &TestImage| {
        let objects: Vec<Value> = image.objects.iter().map(object).collect();
        json!({"file_name": image.name, "objects": objects})
    };
    let asked = images.iter().filter(|image| !image.objects.is_empty());
    json!({"images": asked.map(image).collect::<Vec<_>>()})
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A grey image of 8 × 8 pixels with a lesion of 4 × 4 pixels at (2, 2).
    pub(crate) fn write_set(data: &Path) {
        fs::create_dir_all(data.join("annotations")).unwrap();
        fs::create_dir_all(data.join("images")).unwrap();
        let grey = image::GrayImage::from_pixel(8, 8, image::Luma([90]));
        grey.save(data.join("images/7.png")).unwrap();
        let coco = json!({
            "images": [{"id": 7, "file_name": "images/7.png", "width": 8, "height": 8}],
            "annotations": [{"id": 1, "image_id": 7, "category_id": 2, "bbox": [2, 2, 4, 4], "area": 16,
                "iscrowd": 0, "segmentation": [[2, 2, 6, 2, 6, 6, 2, 6]]}],
            "categories": [{"id": 2, "name": "cyst"}],
        });
        fs::write(data.join("annotations/test.json"), coco.to_string()).unwrap();
    }

    #[test]
    fn a_lesion_is_asked_for_by_its_centre_and_its_box() {
        let home = tempfile::tempdir().unwrap();
        let folder = DemoFolder::new(home.path());
        write_set(&folder.pretraining_data());
        write_set(&folder.fine_tuning_data());
        write_test_images(&folder).unwrap();
        assert!(folder.images(Predicted::Boxes).join("7.png").is_file());
        assert!(folder.images(Predicted::Instances).join("7.png").is_file());
        let read = |predicted| -> Value {
            serde_json::from_str(&fs::read_to_string(folder.prompts(predicted)).unwrap()).unwrap()
        };
        let asked = |objects| json!({"images": [{"file_name": "7.png", "objects": objects}]});
        assert_eq!(read(Predicted::Clicks), asked(json!([{"points": [[3.5, 3.5, 1]]}])));
        assert_eq!(read(Predicted::Boxes), asked(json!([{"box": [2.0, 2.0, 6.0, 6.0]}])));
    }

    #[test]
    fn a_split_without_lesions_is_refused() {
        let data = tempfile::tempdir().unwrap();
        write_set(data.path());
        let path = data.path().join("annotations/test.json");
        let mut coco: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        coco["annotations"] = json!([]);
        fs::write(&path, coco.to_string()).unwrap();
        assert!(read(data.path()).unwrap_err().to_string().contains("no lesion to show"));
    }
}
