//! Prompts as clients write them.

use serde::Deserialize;
use sonotune_base::{Category, Segmentation};
use sonotune_dataset::{ObjectPrompt, PointPrompt};
use utoipa::ToSchema;

use crate::{Question, server::Failure};

/// What is asked about one object: points, a box, a mask, or several of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prompt {
    /// Name of the object's category; the model's first one if absent.
    category: Option<String>,
    #[serde(default)]
    points: Vec<Point>,
    /// `[x0, y0, x1, y1]` in pixels of the image.
    bbox: Option<[f64; 4]>,
    /// COCO run lengths or polygons in pixels of the image, e.g. an earlier answer.
    #[schema(value_type = Option<Object>)]
    mask: Option<Segmentation>,
}

/// A click; integers are the centres of pixels.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    x: f64,
    y: f64,
    /// Whether it is on the object (the default), or on something that does not belong to it.
    #[serde(default = "on_the_object")]
    positive: bool,
}

fn on_the_object() -> bool {
    true
}

/// The question that `prompts` make about an image of `size`; without any, what the model finds on its own.
pub(crate) fn question(
    prompts: Vec<Prompt>,
    categories: &[Category],
    size: (u32, u32),
) -> Result<Question, Failure> {
    if prompts.is_empty() {
        return Ok(Question::Unasked);
    }
    let mut objects = Vec::with_capacity(prompts.len());
    for (i, prompt) in prompts.into_iter().enumerate() {
        let category = prompt.category.map(|name| index_of(&name, categories)).transpose()?;
        let points = prompt.points.iter();
        let points =
            points.map(|point| PointPrompt { x: point.x, y: point.y, positive: point.positive });
        let prompt = ObjectPrompt {
            name: Some(format!("prompts[{i}]")),
            category,
            points: points.collect(),
            bbox: prompt.bbox,
            mask: prompt.mask.filter(|mask| *mask != Segmentation::None),
        };
        objects.push(prompt);
    }
    asked(objects, size)
}

/// The question, if the prompts fit an image of `size`.
pub(crate) fn asked(objects: Vec<ObjectPrompt>, size: (u32, u32)) -> Result<Question, Failure> {
    let size = (i64::from(size.0), i64::from(size.1));
    for prompt in &objects {
        prompt.check(size)?;
        prompt.rasterized_mask(size)?;
        let is_share = |bbox: [f64; 4]| bbox.iter().all(|v| (0.0..=1.0).contains(v));
        if prompt.bbox.is_some_and(is_share) && size.0 > 1 && size.1 > 1 {
            return Err(Failure::unprocessable(
                "a box is between 0 and 1: expected pixels of the image; multiply x by its width, y by its height",
            ));
        }
    }
    Ok(Question::Prompts(objects))
}

fn index_of(name: &str, categories: &[Category]) -> Result<usize, Failure> {
    categories.iter().position(|category| category.name == name).ok_or_else(|| {
        let known: Vec<_> = categories.iter().map(|category| category.name.as_str()).collect();
        let known = known.join(", ");
        Failure::unprocessable(format!("no category {name:?}; the model's are: {known}"))
    })
}
