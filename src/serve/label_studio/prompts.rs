//! What the user drew with a smart tool.

use serde::Deserialize;
use sonotune_dataset::{ObjectPrompt, PointPrompt};

use super::config::LabelConfig;
use crate::{About, Question, rest::prompts::asked, server::Failure};

/// A region of `context.result`.
#[derive(Deserialize)]
pub(super) struct Region {
    #[serde(rename = "type")]
    kind: String,
    value: Place,
    /// 0 for a click on what does not belong to the object.
    is_positive: Option<IsPositive>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IsPositive {
    Flag(bool),
    Number(f64),
}

/// Percent of the image's width and height.
#[derive(Deserialize)]
struct Place {
    x: Option<f64>,
    y: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
    #[serde(default)]
    rotation: f64,
    #[serde(default, alias = "rectanglelabels", alias = "labels")]
    keypointlabels: Vec<String>,
}

/// The question about the one object that all regions point at, and the label it was given.
pub(super) fn question(
    regions: &[Region],
    config: &LabelConfig,
    about: &About,
    size: (u32, u32),
) -> Result<(Question, Option<String>), Failure> {
    let (mut prompt, mut label) = (ObjectPrompt::default(), None);
    for region in regions {
        let place = &region.value;
        let (Some(x), Some(y)) = (place.x, place.y) else {
            return Err(Failure::unprocessable(format!("a {} has no x and y", region.kind)));
        };
        let (across, down) = (f64::from(size.1) / 100.0, f64::from(size.0) / 100.0);
        match region.kind.as_str() {
            "keypointlabels" | "keypoint" => {
                let positive = match &region.is_positive {
                    None => true,
                    Some(IsPositive::Flag(flag)) => *flag,
                    Some(IsPositive::Number(number)) => *number > 0.0,
                };
                // Percent count from the edge of the first pixel, prompts from its centre.
                let inside = |v: f64, side: u32| (v - 0.5).min(f64::from(side) - 0.5);
                let (x, y) = (inside(x * across, size.1), inside(y * down, size.0));
                prompt.points.push(PointPrompt { x, y, positive });
            }
            "rectanglelabels" | "rectangle" => {
                let (Some(w), Some(h)) = (place.width, place.height) else {
                    return Err(Failure::unprocessable("a rectangle has no width and height"));
                };
                if place.rotation != 0.0 || prompt.bbox.is_some() {
                    let what = "one rectangle that is not rotated can be asked about at a time";
                    return Err(Failure::unprocessable(what));
                }
                let bbox = [x * across, y * down, (x + w) * across, (y + h) * down];
                prompt.bbox = Some(bbox);
            }
            other => {
                let what = format!(
                    "a smart tool of type {other} is unknown; use key points or rectangles"
                );
                return Err(Failure::unprocessable(what));
            }
        }
        label = place.keypointlabels.first().cloned().or(label);
    }
    prompt.category = label.as_deref().and_then(|label| config.category_of(label, about));
    Ok((asked(vec![prompt], size)?, label))
}
