//! Predictions, read back from their files.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use sonotune_base::{Rle, Segmentation};

/// A predicted object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) mask: Rle,
    /// In [0, 1].
    pub(crate) score: f64,
    pub(crate) category: String,
    /// The number of the prompt that it answers.
    pub(crate) answers: Option<usize>,
}

/// What a classifier said about an image.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Classified {
    pub(crate) image: String,
    /// By category, in [0, 1].
    pub(crate) scores: BTreeMap<String, f64>,
}

impl Classified {
    /// The category with the highest score.
    pub(crate) fn best(&self) -> Option<(&str, f64)> {
        let best = self.scores.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
        Some((best.0, *best.1))
    }
}

/// Objects by the name of their image.
///
/// # Errors
/// If the file is missing or is not a prediction of objects.
pub(crate) fn objects(predictions: &Path) -> Result<BTreeMap<String, Vec<Object>>> {
    #[derive(Deserialize)]
    struct File {
        images: Vec<Image>,
        annotations: Vec<Annotation>,
        categories: Vec<Category>,
    }
    #[derive(Deserialize)]
    struct Image {
        id: u64,
        file_name: String,
        width: u32,
        height: u32,
    }
    #[derive(Deserialize)]
    struct Annotation {
        image_id: u64,
        category_id: i64,
        score: f64,
        bbox: [f64; 4],
        #[serde(default)]
        segmentation: Option<Segmentation>,
        #[serde(default)]
        prompt: Option<Prompt>,
    }
    #[derive(Deserialize)]
    struct Category {
        id: i64,
        name: String,
    }
    #[derive(Deserialize)]
    struct Prompt {
        index: usize,
    }
    let path = predictions.join("predictions.json");
    let file: File = read(&path)?;
    let mut found: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    for image in &file.images {
        let mut objects = Vec::new();
        for annotation in file.annotations.iter().filter(|a| a.image_id == image.id) {
            // A mask without pixels has no run lengths in the file.
            let mask = match &annotation.segmentation {
                Some(mask) => mask.rasterize((image.height, image.width), annotation.bbox)?,
                None => Rle::new(image.height, image.width, vec![image.height * image.width])?,
            };
            let category = file.categories.iter().find(|c| c.id == annotation.category_id);
            objects.push(Object {
                mask,
                score: annotation.score,
                category: category.map(|c| c.name.clone()).unwrap_or_default(),
                answers: annotation.prompt.as_ref().map(|prompt| prompt.index),
            });
        }
        found.insert(image.file_name.clone(), objects);
    }
    Ok(found)
}

/// What the classifier said about each image.
///
/// # Errors
/// If the file is missing or is not a prediction of classes.
pub(crate) fn classes(predictions: &Path) -> Result<Vec<Classified>> {
    #[derive(Deserialize)]
    struct File {
        images: Vec<Classified>,
    }
    Ok(read::<File>(&predictions.join("predictions.json"))?.images)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a prediction", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_keep_their_question_and_empty_masks_have_the_size_of_the_image() {
        let home = tempfile::tempdir().unwrap();
        let file = json!({
            "images": [{"id": 1, "file_name": "7.png", "width": 4, "height": 2}],
            "annotations": [
                {"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [0, 0, 1, 2], "prompt": {"index": 4},
                 "segmentation": {"size": [2, 4], "counts": [0, 2, 6]}},
                {"image_id": 1, "category_id": 3, "score": 0.1, "bbox": [0, 0, 0, 0]},
            ],
            "categories": [{"id": 3, "name": "cyst"}],
        });
        std::fs::write(home.path().join("predictions.json"), file.to_string()).unwrap();
        let found = &objects(home.path()).unwrap()["7.png"];
        assert_eq!((found[0].mask.area(), found[0].answers), (2, Some(4)));
        assert_eq!((found[1].mask.area(), found[1].mask.width, found[1].mask.height), (0, 4, 2));
        assert_eq!(found[1].category, "cyst");
        assert!(classes(home.path()).unwrap_err().to_string().contains("is not a prediction"));
    }
}
