//! Answers as JSON.

use serde::{Deserialize, Serialize};
use sonotune_base::{Category, Rle};
use utoipa::ToSchema;

use crate::{About, Answer, polygons::outlines, server::Failure};

/// The form of the masks in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Masks {
    /// COCO run lengths.
    #[default]
    Rle,
    /// Outlines.
    Polygons,
    Both,
    None,
}

/// What a model is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    name: String,
    /// The `type` of its `[task]` table.
    task: String,
    backbone: String,
    /// Whether it answers points, boxes and masks.
    takes_prompts: bool,
    /// Whether it is about the image as a whole.
    is_of_image: bool,
    has_masks: bool,
    categories: Vec<NamedCategory>,
    /// Objects that it finds on its own are left out below this score.
    min_score: f64,
    /// Optimiser steps that it was trained for.
    step: u64,
    device: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedCategory {
    id: i64,
    name: String,
}

impl Model {
    pub(crate) fn of(about: &About) -> Self {
        let named =
            |category: &Category| NamedCategory { id: category.id, name: category.name.clone() };
        Self {
            name: about.name.clone(),
            task: about.task.clone(),
            backbone: about.backbone.clone(),
            takes_prompts: about.takes_prompts,
            is_of_image: about.is_of_image,
            has_masks: about.has_masks,
            categories: about.categories.iter().map(named).collect(),
            min_score: about.min_score,
            step: about.step,
            device: about.device.clone(),
        }
    }
}

/// What the model says about an image. Coordinates are pixels of the file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Prediction {
    height: u32,
    width: u32,
    /// For prompts one each, in their order; else by descending score.
    objects: Vec<Object>,
    /// Categories of the image as a whole.
    labels: Vec<String>,
    /// A score for each category of an image as a whole.
    scores: Vec<Scored>,
    /// Numbers of the image as a whole.
    values: Vec<Named>,
    /// Whether the image's embedding was there before the question.
    was_prepared: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Object {
    category: String,
    category_id: i64,
    score: f64,
    /// XYWH.
    bbox: [f64; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<Runs>,
    /// Outlines `[x0, y0, x1, y1, …]`, one for each part; holes are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    polygons: Option<Vec<Vec<f64>>>,
}

/// A mask in COCO's compressed run lengths.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Runs {
    /// `[height, width]`.
    size: [u32; 2],
    counts: String,
}

impl Runs {
    pub(crate) fn of(mask: &Rle) -> Self {
        Self { size: [mask.height, mask.width], counts: mask.to_compressed() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Scored {
    category: String,
    score: f64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Named {
    name: String,
    /// `null` if it is not a finite number.
    value: f64,
}

/// The category of an answer. One that the model does not have is the server's fault.
pub(crate) fn category(about: &About, index: usize) -> Result<&Category, Failure> {
    about.categories.get(index).ok_or_else(|| {
        let error =
            anyhow::anyhow!("the model answered category {index} of {}", about.categories.len());
        Failure::internal(&error)
    })
}

/// XYWH of XYXY.
pub(crate) fn xywh([x0, y0, x1, y1]: [f64; 4]) -> [f64; 4] {
    [x0, y0, x1 - x0, y1 - y0]
}

impl Prediction {
    /// `min_score` leaves out objects that were not asked for.
    pub(crate) fn of(
        answer: &Answer,
        about: &About,
        masks: Masks,
        min_score: f64,
    ) -> Result<Self, Failure> {
        let found = answer.objects.iter().filter(|found| found.score >= min_score);
        let objects = found.map(|found| {
            let category = category(about, found.category)?;
            let mask = found.mask.as_ref();
            let as_runs = mask.filter(|_| matches!(masks, Masks::Rle | Masks::Both));
            let as_outlines = mask.filter(|_| matches!(masks, Masks::Polygons | Masks::Both));
            Ok(Object {
                category: category.name.clone(),
                category_id: category.id,
                score: found.score,
                bbox: xywh(found.bbox),
                mask: as_runs.map(Runs::of),
                polygons: as_outlines.map(|mask| outlines(mask, 0.0)),
            })
        });
        let labels = answer.labels.iter().map(|&index| Ok(category(about, index)?.name.clone()));
        let scores = answer.scores.iter().zip(&about.categories);
        let scores = scores.map(|(&score, c)| Scored { category: c.name.clone(), score });
        let values =
            answer.values.iter().map(|(name, value)| Named { name: name.clone(), value: *value });
        Ok(Self {
            height: answer.size.0,
            width: answer.size.1,
            objects: objects.collect::<Result<_, Failure>>()?,
            labels: labels.collect::<Result<_, Failure>>()?,
            scores: scores.collect(),
            values: values.collect(),
            was_prepared: answer.was_prepared,
        })
    }
}
