//! Writes predicted objects as a COCO file that can be trained on.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use sonotune_base::{Category, ImageId};
use sonotune_engine::task::Prediction;

use super::{measures::Measures, outputs::ImageName};

/// Information about the file as a whole.
#[derive(Debug, Serialize)]
pub(super) struct Info<'a> {
    pub(super) description: &'static str,
    pub(super) version: &'static str,
    pub(super) checkpoint: &'a std::path::Path,
    /// Same as [`PredictRecord::beside`](super::PredictRecord::beside).
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) beside: &'a [std::path::PathBuf],
    /// Same as [`PredictRecord::ensemble`](super::PredictRecord::ensemble).
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) ensemble: &'a [std::path::PathBuf],
    /// Same as [`PredictRecord::conditions`](super::PredictRecord::conditions).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) conditions: &'a BTreeMap<String, String>,
    /// The prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompts: Option<String>,
    pub(super) failures: &'a [String],
    pub(super) without_prompts: &'a [String],
    pub(super) notes: &'a [String],
}

#[derive(Serialize)]
struct Image<'a> {
    id: &'a ImageId,
    file_name: &'a str,
    /// Counted from 0, if the file has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u32>,
    /// The frame whose prompts its answers go back to: each box is that of a mask of the frame before.
    #[serde(skip_serializing_if = "Option::is_none")]
    carried_from: Option<u32>,
    width: i64,
    height: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pixel_spacing: Option<[f64; 2]>,
}

#[derive(Serialize)]
struct Annotation<'a> {
    id: u64,
    image_id: &'a ImageId,
    category_id: i64,
    /// XYWH in pixels of the original image.
    bbox: [f64; 4],
    area: f64,
    iscrowd: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation: Option<Compressed>,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    measures: Option<Measures>,
    /// Value of the object in the label map.
    label: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<Prompt<'a>>,
}

#[derive(Serialize)]
struct Compressed {
    size: [u32; 2],
    counts: String,
}

/// The prompt that an answer belongs to.
#[derive(Serialize)]
struct Prompt<'a> {
    /// Position among the prompts or annotated objects of the image.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// An image of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) name: ImageName<'a>,
    pub(super) image_id: &'a ImageId,
    /// `[row, column]` in millimetres a pixel.
    pub(super) spacing: Option<[f64; 2]>,
}

/// The lists as they grow: as text, which takes less memory than the values.
#[derive(Debug, Default)]
pub(super) struct CocoText {
    images: Vec<String>,
    annotations: Vec<String>,
}

impl CocoText {
    /// Adds an image: a file, or a frame of it; `name` gives the name of an instance's prompt.
    pub(super) fn add<'a>(
        &mut self,
        Named { name: ImageName { file: file_name, frame, carried_from, .. }, image_id, spacing }: Named<'_>,
        prediction: &Prediction,
        categories: &[Category],
        name: impl Fn(usize) -> Option<&'a str>,
    ) -> Result<()> {
        let (height, width) = prediction.original_size;
        let image = Image {
            id: image_id,
            file_name,
            frame,
            carried_from,
            width,
            height,
            pixel_spacing: spacing,
        };
        self.images.push(serde_json::to_string(&image)?);
        for (i, instance) in prediction.instances.iter().enumerate() {
            let [x0, y0, x1, y1] = instance.bbox;
            let mask = instance.mask.as_ref();
            let annotation = Annotation {
                id: self.annotations.len() as u64 + 1,
                image_id,
                category_id: categories.get(instance.category).map_or(0, |c| c.id),
                bbox: [x0, y0, x1 - x0, y1 - y0],
                area: super::area(instance),
                iscrowd: 0,
                segmentation: mask.map(|rle| Compressed {
                    size: [rle.height, rle.width],
                    counts: rle.to_compressed(),
                }),
                score: instance.score,
                measures: mask.map(|mask| Measures::of(mask, spacing)).transpose()?.flatten(),
                label: i + 1,
                prompt: instance
                    .answers
                    .map(|answer| Prompt { index: answer.object, name: name(answer.object) }),
            };
            self.annotations.push(serde_json::to_string(&annotation)?);
        }
        Ok(())
    }

    /// The text of the file: one entry per line.
    pub(super) fn finish(self, info: &Info<'_>, categories: &[Category]) -> Result<String> {
        let list = |entries: &[String]| format!("[\n{}\n]", entries.join(",\n"));
        Ok(format!(
            "{{\n\"info\": {},\n\"categories\": {},\n\"images\": {},\n\"annotations\": {}\n}}\n",
            serde_json::to_string(info)?,
            serde_json::to_string(categories)?,
            list(&self.images),
            list(&self.annotations)
        ))
    }
}
